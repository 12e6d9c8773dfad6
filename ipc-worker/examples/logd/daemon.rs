//! Main's loop: a tick, a socket, a worker, and no call that waits for anything else.

use std::time::Duration;

use heapless::Vec;
use ipc_transport::{Instant, Interest, Watched, wait};
use ipc_worker::{Launch, NotTaken, Restart, Start, Worker};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde_bytes::Bytes;

use crate::Trouble;
use crate::common::intake::Intake;
use crate::common::ledger::{Finish, Ledger, Name, Tag};
use crate::common::line::{Datagram, MESSAGE};
use crate::common::policy::WhenFull;
use crate::listener::Listener;
use crate::options::Options;
use crate::say::{self, complain};
use crate::service::Readiness;
use crate::signals::Signals;
use crate::stats::Stats;
use crate::work;

/// Bytes of a request beside the message, at most: its time of receipt, its sender and two lengths.
const HEAD: usize = 15 + 16 + 2 * 10;
/// Messages under way, and bytes for them.
const SLOTS: usize = 256;
const BYTES: usize = 64 << 10;
/// Messages that one round of the loop takes at most.
const BATCH: usize = 64;
/// A log daemon goes on trying, every 10 s at last: its clients wait, and nothing is lost.
pub(crate) const RESTART: Restart = Restart::STANDARD.limit(u32::MAX);
/// How long the worker may take to see to the mark, once everything is written; and where main is to
/// stop at once.
const FINISH: Duration = Duration::from_secs(5);
const QUICKLY: Duration = Duration::from_secs(1);
/// How long to leave the system alone that is short of memory.
const SHORTAGE: Duration = Duration::from_millis(1);

/// The daemon while it runs.
pub(crate) struct Daemon<L: Launch> {
    worker: Worker<Tag, L, SLOTS, BYTES>,
    listener: Listener,
    signals: Signals,
    ledger: Ledger,
    stats: Stats,
    intake: Intake<Box<[u8]>>,
    when_full: WhenFull,
    gate: Gate,
    /// How long stopping may take, and when it must be over, once it has begun.
    stop_within: Duration,
    stop_until: Option<Instant>,
    reopen: bool,
    /// Until when the worker may answer that everything is written, once it was told so.
    finish_until: Option<Instant>,
    /// Lines say who has sent them.
    trusted: bool,
    buffer: Box<[u8]>,
}

/// Whether messages are taken from the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// The intake is full: clients wait in the kernel.
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
        let mut stats = Stats::new(now, options.stats);
        let (pid, child) = (std::process::id(), worker.pid().unwrap_or(0));
        stats.print("ready", now, format_args!(" pid={pid} worker={child}"));
        Ok(Self {
            worker,
            listener,
            signals,
            // A reply without a meaning counts as a drop.
            ledger: Ledger::new(complain, |reply| work::append::result(reply).unwrap_or(-1)),
            stats,
            intake: Intake::new(vec![0; options.intake].into_boxed_slice()),
            when_full: options.when_full,
            gate: Gate::Open,
            stop_within: options.stop_within,
            stop_until: None,
            reopen: false,
            finish_until: None,
            trusted: options.trusted,
            buffer: vec![0; MESSAGE].into_boxed_slice(),
        })
    }

    /// Serves until it is told to stop, and writes what was accepted until then.
    pub(crate) fn run(&mut self) -> Result<(), Trouble> {
        while !self.is_over() {
            self.wait();
            let (counts, counters) = (&self.ledger.counts, self.worker.counters());
            self.stats.tick(Instant::now(), counts, &counters);
            self.heed_signals();
            self.read()?;
            self.feed();
            self.worker.turn(Instant::now());
            let pid = self.worker.pid();
            while let Some(event) = self.worker.next_event() {
                self.stats.note(&event, pid);
                self.ledger.note(event);
            }
            self.tell_dropped();
            self.feed();
            self.finish();
            say::settle(Instant::now());
        }
        self.listener.close();
        // From here on as much is said as is lost.
        say::say_all();
        let left = self.ledger.under_way + self.intake.count();
        let deadline = self.until().unwrap_or_else(Instant::now);
        self.worker.stop(deadline, |event| {
            self.stats.note(&event, None);
            self.ledger.note(event);
        });
        if left == 0 && self.ledger.finish != Finish::Answered && self.ledger.gave_up().is_none() {
            complain(format_args!("all is written, but the mark of a daemon that runs stays"));
        }
        let uncounted = self.ledger.close();
        let unread = self.name_unwritten();
        say::close();
        let (counts, counters) = (&self.ledger.counts, self.worker.counters());
        self.stats.print_figures("end", Instant::now(), counts, &counters);
        match self.ledger.gave_up() {
            Some(reason) => Err(Trouble(reason.to_string())),
            None if left > 0 || unread > 0 || uncounted > 0 => {
                Err(Trouble("stopped before everything was written".to_owned()))
            }
            None => Ok(()),
        }
    }

    fn is_over(&self) -> bool {
        let is_late = self.until().is_some_and(|until| until <= Instant::now());
        self.ledger.finish == Finish::Answered || is_late || self.ledger.gave_up().is_some()
    }

    /// When it is over at the latest.
    fn until(&self) -> Option<Instant> {
        self.finish_until.or(self.stop_until)
    }

    /// Whether nothing is left to be written, and nothing more will come.
    fn is_written(&self) -> bool {
        let is_empty = self.intake.count() == 0 && self.ledger.under_way == 0;
        self.gate == Gate::Drained && is_empty
    }

    /// Lets the worker take the mark away at the end, which is clean only if nothing was left.
    fn finish(&mut self) {
        if !self.is_written() {
            return;
        }
        let now = Instant::now();
        let until = self.stop_until.unwrap_or(now).min(now + FINISH).max(now + QUICKLY);
        self.finish_until.get_or_insert(until);
        if self.ledger.finish == Finish::Untold
            && self.ledger.is_told()
            && work::finish::call(&mut self.worker, Tag::Finish).is_ok()
        {
            self.ledger.finish = Finish::Asked;
        }
    }

    /// Waits for the next tick, a message, an event or a signal, whichever is first.
    fn wait(&self) {
        let dues = [
            self.worker.next_deadline(),
            Some(self.stats.next_tick()),
            Some(say::deadline()),
            self.until(),
        ];
        let wake = dues.into_iter().flatten().min();
        let input = |fd| Watched::new(fd, Interest::Input);
        let listener = Some(self.listener.as_fd()).filter(|_| self.gate == Gate::Open);
        let fds = self.signals.watched().into_iter().chain([self.worker.as_fd()]).chain(listener);
        let mut watched: Vec<Watched<'_>, 5> = fds.map(input).collect();
        // A wait that fails is a short one: everything is looked at in any case.
        if wait(&mut watched, wake).is_err() {
            std::thread::sleep(SHORTAGE);
        }
    }

    fn heed_signals(&mut self) {
        let told = self.signals.take();
        self.reopen |= told.reopen;
        if told.stop && self.stop_until.is_none() {
            self.begin_stop(self.stop_within);
        }
        if told.quit {
            self.begin_stop(Duration::ZERO);
        }
        if self.reopen && self.worker.has_room_for(0, 0) {
            // If it is lost with its worker, the next one opens the log anew in any case.
            self.reopen = self.worker.try_send(work::reopen::args().call()).is_err();
        }
    }

    /// Stops once what has come is written, but no later.
    pub(crate) fn begin_stop(&mut self, within: Duration) {
        let until = Instant::now() + within;
        self.stop_until = Some(until);
        self.finish_until = self.finish_until.map(|before| before.min(until));
        self.listener.close();
        Readiness::stopping();
        // One that was stopped by a signal would write nothing.
        let worker = self.worker.pid().filter(|_| within > Duration::ZERO);
        if let Some(worker) = worker.and_then(Pid::from_raw) {
            _ = kill_process(worker, Signal::CONT);
        }
    }

    /// Takes messages from the socket, as long as the intake has room for the longest.
    fn read(&mut self) -> Result<(), Trouble> {
        for _ in 0..BATCH {
            if self.gate == Gate::Drained || !self.make_room() {
                return Ok(());
            }
            let arrival = match self.listener.receive(&mut self.buffer) {
                Ok(Some(arrival)) => arrival,
                Ok(None) => {
                    if self.stop_until.is_some() {
                        self.gate = Gate::Drained;
                    }
                    return Ok(());
                }
                Err(error @ (Errno::NOMEM | Errno::NOBUFS)) => {
                    complain(format_args!("cannot receive: {error}; trying again"));
                    std::thread::sleep(SHORTAGE);
                    return Ok(());
                }
                Err(error) => return Err(Trouble::at("--socket")(&error)),
            };
            self.ledger.counts.received += 1;
            if !self.intake.push(&arrival.datagram(&self.buffer)) {
                self.ledger.note_overflow();
            }
        }
        Ok(())
    }

    /// Makes room in the intake as the policy says. Returns whether a message is to be received.
    fn make_room(&mut self) -> bool {
        if !self.intake.has_room_for(MESSAGE) {
            match self.when_full {
                WhenFull::Wait => {
                    if self.gate == Gate::Open {
                        self.ledger.counts.paused += 1;
                        complain(format_args!("the intake is full: clients wait"));
                    }
                    self.gate = Gate::Paused;
                    return false;
                }
                WhenFull::DropOldest => {
                    while !self.intake.has_room_for(MESSAGE) && self.intake.count() > 0 {
                        self.intake.pop();
                        self.ledger.note_overflow();
                    }
                }
                WhenFull::DropNew => {}
            }
        }
        self.gate = Gate::Open;
        true
    }

    /// Hands messages to the worker, as long as it has room for them.
    fn feed(&mut self) {
        while let Some(datagram) = self.intake.front() {
            if !self.worker.has_room_for(HEAD + datagram.bytes.len(), 0) {
                return;
            }
            let name = Tag::Message(Name::of(&datagram));
            let Datagram { received, sender, bytes, missing } = datagram;
            let sender = sender.filter(|_| self.trusted);
            // No deadline: a message is written late rather than not at all.
            let bytes = Bytes::new(bytes);
            let taken =
                work::append::call(&mut self.worker, &received, &sender, bytes, &missing, name);
            match taken {
                // There was room a moment ago, so that this is a fault of ours; say so by name.
                Err(NotTaken { why, tag: Tag::Message(name), .. }) => {
                    self.ledger.counts.lost += 1;
                    complain(format_args!("lost ({why}): {name}"));
                }
                _ => self.ledger.under_way += 1,
            }
            self.intake.pop();
        }
    }

    /// Tells the worker how many messages were dropped that it does not know of.
    fn tell_dropped(&mut self) {
        if let Some((count, error)) = self.ledger.take_drops() {
            let tag = Tag::Drops(count);
            if work::add_dropped::call(&mut self.worker, &count, &error, tag).is_err() {
                self.ledger.put_back(count);
            }
        }
    }

    /// Names what was accepted and cannot be written any more, and counts it. The socket takes
    /// nothing further, so that this ends.
    fn name_unwritten(&mut self) -> u64 {
        let mut count = 0;
        while let Some(datagram) = self.intake.front() {
            complain(format_args!("lost (not begun): {}", Name::of(&datagram)));
            self.intake.pop();
            count += 1;
        }
        let unread = self.listener.name_unread();
        self.ledger.counts.received += unread;
        count += unread;
        self.ledger.counts.lost += count;
        count
    }
}
