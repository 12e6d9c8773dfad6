//! Main's loop: a tick, a socket, a worker, and no call that waits for anything else.

use std::time::Duration;

use heapless::Vec;
use ipc_transport::{Instant, Interest, Watched, wait};
use ipc_worker::{Launch, Restart, Start, Worker};
use rustix::fd::AsFd;
use serde_bytes::Bytes;

use crate::Trouble;
use crate::disk::work;
use crate::ledger::{Ledger, Name};
use crate::line::{Datagram, MESSAGE};
use crate::listener::{Arrival, Listener};
use crate::options::Options;
use crate::say::complain;
use crate::signals::Signals;
use crate::stats::Stats;

/// Bytes of a request beside the message, at most: its time of receipt, its sender and two lengths.
const HEAD: usize = 15 + 16 + 2 * 10;
/// Messages under way, and bytes for them: what clients may send during a stall.
const SLOTS: usize = 256;
const BYTES: usize = 64 << 10;
/// Messages that one round of the loop takes at most.
const BATCH: usize = 64;
/// A log daemon goes on trying, every 10 s at last: its clients wait, and nothing is lost.
pub(crate) const RESTART: Restart = Restart::STANDARD.limit(u32::MAX);
/// How long stopping may take.
const STOP: Duration = Duration::from_secs(60);

/// The daemon while it runs.
pub(crate) struct Daemon<L: Launch> {
    worker: Worker<Name, L, SLOTS, BYTES>,
    listener: Listener,
    signals: Signals,
    ledger: Ledger,
    intake: Intake,
    /// When stopping must be over, once it has begun.
    stop_until: Option<Instant>,
    reopen: bool,
    /// Lines say who has sent them.
    trusted: bool,
    buffer: Box<[u8]>,
}

/// Whether messages are taken from the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    Open,
    /// The worker is too far behind: clients wait in the kernel.
    Paused,
    /// Everything that was accepted is taken.
    Drained,
}

impl<L: Launch> Daemon<L> {
    /// Starts the worker. The process must still have one thread.
    pub(crate) fn start(
        start: Start<L>,
        listener: Listener,
        signals: Signals,
        options: &Options,
    ) -> Result<Self, Trouble> {
        let worker = Worker::start(start).map_err(|error| {
            Trouble::at(format_args!("--dir {}", options.dir.display()))(&error)
        })?;
        let now = Instant::now();
        let stats = Stats::new(now, options.stats);
        let (pid, child) = (std::process::id(), worker.pid().unwrap_or(0));
        stats.print("ready", now, format_args!(" pid={pid} worker={child}"));
        Ok(Self {
            worker,
            listener,
            signals,
            ledger: Ledger::new(stats),
            intake: Intake::Open,
            stop_until: None,
            reopen: false,
            trusted: options.trusted,
            buffer: vec![0; MESSAGE].into_boxed_slice(),
        })
    }

    /// Serves until it is told to stop, and writes what was accepted until then.
    pub(crate) fn run(mut self) -> Result<(), Trouble> {
        while !self.is_over() {
            self.wait();
            self.ledger.stats.tick(Instant::now(), &self.worker.counters());
            self.heed_signals();
            self.read()?;
            self.worker.turn(Instant::now());
            let pid = self.worker.pid();
            while let Some(event) = self.worker.next_event() {
                self.ledger.note(event, pid);
            }
            if let Some((count, error)) = self.ledger.take_untold() {
                // Without room for it only main knows of them.
                _ = self.worker.try_send(work::add_dropped::args(&count, &error).call());
            }
        }
        self.listener.close();
        let left = self.worker.under_way();
        let deadline = self.stop_until.unwrap_or_else(Instant::now);
        self.worker.stop(deadline, |event| self.ledger.note(event, None));
        self.ledger.close();
        let unread = self.name_unread();
        self.ledger.stats.print_figures("end", Instant::now(), &self.worker.counters());
        match self.ledger.gave_up() {
            Some(reason) => Err(Trouble(reason.clone())),
            None if left > 0 || unread > 0 => {
                Err(Trouble("stopped before everything was written".to_owned()))
            }
            None => Ok(()),
        }
    }

    fn is_over(&self) -> bool {
        let is_done = self.intake == Intake::Drained && self.worker.under_way() == 0;
        let is_late = self.stop_until.is_some_and(|until| until <= Instant::now());
        is_done || is_late || self.ledger.gave_up().is_some()
    }

    /// Waits for the next tick, a message, an event or a signal, whichever is first.
    fn wait(&self) {
        let tick = self.ledger.stats.next_tick();
        let wake = self.worker.next_deadline().map_or(tick, |next| next.min(tick));
        let input = |fd| Watched::new(fd, Interest::Input);
        let [stop, reopen] = self.signals.watched();
        let listener = Some(self.listener.as_fd()).filter(|_| self.intake == Intake::Open);
        let fds = [Some(self.worker.as_fd()), Some(stop), Some(reopen), listener];
        let mut watched: Vec<Watched<'_>, 4> = fds.into_iter().flatten().map(input).collect();
        // A wait that fails is a short one: everything is looked at in any case.
        _ = wait(&mut watched, Some(wake));
    }

    fn heed_signals(&mut self) {
        let told = self.signals.take();
        self.reopen |= told.reopen;
        if told.stop > 0 {
            let is_first = self.stop_until.is_none() && told.stop == 1;
            let patience = if is_first { STOP } else { Duration::ZERO };
            self.stop_until = Some(Instant::now() + patience);
            self.listener.close();
        }
        if self.reopen && self.worker.has_room_for(0, 0) {
            // If it is lost with its worker, the next one opens the log anew in any case.
            self.reopen = self.worker.try_send(work::reopen::args().call()).is_err();
        }
    }

    /// Takes messages from the socket, as long as the worker has room for the longest.
    fn read(&mut self) -> Result<(), Trouble> {
        if self.intake == Intake::Drained {
            return Ok(());
        }
        for _ in 0..BATCH {
            if !self.worker.has_room_for(HEAD + MESSAGE, 0) {
                self.ledger.stats.counts.paused += u64::from(self.intake == Intake::Open);
                self.intake = Intake::Paused;
                return Ok(());
            }
            self.intake = Intake::Open;
            let arrived = self.listener.receive(&mut self.buffer);
            match arrived.map_err(|error| Trouble::at("--socket")(&error))? {
                Some(arrival) => self.forward(arrival),
                None => {
                    if self.stop_until.is_some() {
                        self.intake = Intake::Drained;
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Names what was accepted and cannot be written any more, and counts it. The socket takes
    /// nothing further, so that this ends.
    fn name_unread(&mut self) -> u64 {
        let mut count = 0;
        while let Ok(Some(arrival)) = self.listener.receive(&mut self.buffer) {
            let name = Name::of(&arrival.datagram(&self.buffer));
            complain(format_args!("lost (not read): {name}"));
            count += 1;
        }
        self.ledger.stats.counts.received += count;
        self.ledger.stats.counts.lost += count;
        count
    }

    /// Hands the message at the start of the buffer to the worker.
    fn forward(&mut self, arrival: Arrival) {
        self.ledger.stats.counts.received += 1;
        let datagram = arrival.datagram(&self.buffer);
        let name = Name::of(&datagram);
        let Datagram { received, sender, bytes, missing } = datagram;
        let sender = sender.filter(|_| self.trusted);
        // No deadline: a message is written late rather than not at all. While the disk is slow
        // clients wait, and only `STOP` ends that.
        let bytes = Bytes::new(bytes);
        let taken = work::append::call(&mut self.worker, &received, &sender, bytes, &missing, name);
        if let Err(not_taken) = taken {
            // There was room a moment ago, so that this is a fault of ours; say so by name.
            self.ledger.stats.counts.lost += 1;
            complain(format_args!("lost ({}): {}", not_taken.why, not_taken.tag));
        }
    }
}
