//! The load: clients that send syslog datagrams, each message at its time.

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{figures::Histogram, logger, message::Message, phase::Phase};
use crate::failure::Failure;

/// Several clients, so that a client that waits in `send` does not stop the others.
const CLIENTS: u64 = 4;

/// No send waits longer. A message that could not be sent by then is not accepted.
const SEND_TIME: Duration = Duration::from_secs(10);

/// How often a client that waits for a message's time checks whether to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

const SECOND_NS: u64 = 1_000_000_000;

/// Running clients. Message number n is due n / rate seconds after the start. If a send waits,
/// messages that come due meanwhile follow as soon as possible. Dropping this stops them.
pub(crate) struct Load {
    clients: Vec<JoinHandle<io::Result<Sent>>>,
    pace: Pace,
    shared: Arc<Shared>,
}

/// What the clients did.
#[derive(Default)]
pub(crate) struct Sent {
    /// How many messages came due.
    pub(crate) due: u64,
    /// The numbers of those whose `send` returned without error.
    pub(crate) accepted: Vec<u64>,
    /// How many were given up because `send` waited too long.
    pub(crate) timed_out: u64,
    /// The time that each `send` took.
    pub(crate) took: Histogram,
}

impl Sent {
    /// How many of them `logger` has sent.
    pub(crate) fn by_logger(&self) -> usize {
        self.accepted.iter().filter(|&&number| number >= Message::BY_LOGGER).count()
    }

    pub(crate) fn accepted_count(&self) -> u64 {
        u64::try_from(self.accepted.len()).unwrap_or(u64::MAX)
    }
}

#[derive(Clone, Copy)]
struct Pace {
    start: Instant,
    rate: u64,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    accepted: AtomicU64,
    /// 0 when there was no send.
    longest_and_one_us: AtomicU64,
}

impl Load {
    /// Starts the clients: together, they send `rate` messages a second to the socket at `path`.
    pub(crate) fn start(path: &Path, phase: Phase, rate: u64) -> Result<Self, Failure> {
        let pace = Pace { start: Instant::now(), rate };
        let mut load = Self { clients: Vec::new(), pace, shared: Arc::default() };
        for first in 0..CLIENTS {
            let socket = connect(path).map_err(Failure::of("connect to logd's socket"))?;
            let client = Client { socket, phase, pace, shared: Arc::clone(&load.shared) };
            load.clients.push(thread::spawn(move || client.run(first)));
        }
        Ok(load)
    }

    /// Also lets `logger` send, as an ordinary program.
    pub(crate) fn add_logger(&mut self, path: &Path, phase: Phase) -> Result<(), Failure> {
        let logger = logger::start(path).map_err(Failure::of("start logger"))?;
        let shared = Arc::clone(&self.shared);
        self.clients.push(thread::spawn(move || logger::run(logger, phase, &shared.ended)));
        Ok(())
    }

    /// How many messages were accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.shared.accepted.load(Relaxed)
    }

    /// The longest send, in µs, that ended since this was last asked; `None` when none did.
    pub(crate) fn take_longest_us(&self) -> Option<u64> {
        self.shared.longest_and_one_us.swap(0, Relaxed).checked_sub(1)
    }

    /// Stops the load, after sends that are still waiting.
    pub(crate) fn stop(mut self) -> Result<Sent, Failure> {
        self.shared.ended.store(true, Relaxed);
        let mut all = Sent { due: self.pace.due(), ..Sent::default() };
        for client in self.clients.drain(..) {
            let ended = client.join().map_err(|_| Failure::Failed("a client panicked".into()))?;
            let sent = ended.map_err(Failure::of("send to logd's socket"))?;
            all.due += sent.due;
            all.accepted.extend(sent.accepted);
            all.timed_out += sent.timed_out;
            all.took.merge(&sent.took);
        }
        Ok(all)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.ended.store(true, Relaxed);
    }
}

impl Pace {
    /// When the message comes due.
    fn when(self, number: u64) -> Instant {
        let part_ns = number % self.rate * SECOND_NS / self.rate;
        self.start + Duration::from_secs(number / self.rate) + Duration::from_nanos(part_ns)
    }

    /// How many messages have come due.
    fn due(self) -> u64 {
        let time = self.start.elapsed();
        let part = u64::from(time.subsec_nanos()) * self.rate / SECOND_NS;
        time.as_secs() * self.rate + part + 1
    }
}

struct Client {
    socket: UnixDatagram,
    phase: Phase,
    pace: Pace,
    shared: Arc<Shared>,
}

impl Client {
    /// Sends every message of this client, from number `first` on, until the load ends.
    fn run(self, first: u64) -> io::Result<Sent> {
        let mut sent = Sent::default();
        let mut number = first;
        while self.wait_for(self.pace.when(number)) {
            self.send(number, &mut sent)?;
            number += CLIENTS;
        }
        Ok(sent)
    }

    /// Waits until the message is due; false when the load has ended.
    fn wait_for(&self, due: Instant) -> bool {
        loop {
            if self.shared.ended.load(Relaxed) {
                return false;
            }
            let rest = due.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return true;
            }
            thread::sleep(rest.min(LOOK_EVERY));
        }
    }

    fn send(&self, number: u64, sent: &mut Sent) -> io::Result<()> {
        let text = Message { phase: self.phase, number }.text();
        let start = Instant::now();
        let result = self.socket.send(text.as_bytes());
        let took_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        sent.took.record(took_us);
        self.shared.longest_and_one_us.fetch_max(took_us.saturating_add(1), Relaxed);
        match result {
            Ok(_) => {
                sent.accepted.push(number);
                self.shared.accepted.fetch_add(1, Relaxed);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sent.timed_out += 1;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(SEND_TIME))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_due_evenly() {
        let pace = Pace { start: Instant::now(), rate: 400 };
        assert_eq!(pace.when(1) - pace.start, Duration::from_micros(2_500));
        assert_eq!(pace.when(400) - pace.start, Duration::from_secs(1));
        assert_eq!(pace.when(1_001) - pace.start, Duration::from_micros(2_502_500));
    }

    #[test]
    fn every_accepted_message_arrives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let receiver = thread::spawn(move || {
            let mut buffer = [0; 1024];
            let mut arrived = Vec::new();
            while let Ok(len) = socket.recv(&mut buffer) {
                let text = core::str::from_utf8(&buffer[..len]).unwrap();
                arrived.push(text.to_owned());
            }
            arrived
        });
        let load = Load::start(&path, Phase::Worker, 1_000).unwrap();
        thread::sleep(Duration::from_millis(100));
        let sent = load.stop().unwrap();
        let mut arrived = receiver.join().unwrap();

        let phase = Phase::Worker;
        let text = |number| Message { phase, number }.text();
        let mut accepted: Vec<String> = sent.accepted.into_iter().map(text).collect();
        accepted.sort_unstable();
        arrived.sort_unstable();
        assert_eq!(arrived, accepted);
        assert_eq!(sent.timed_out, 0);
    }
}
