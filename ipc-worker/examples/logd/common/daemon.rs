//! Main's event loop. The only call that blocks is the wait for its descriptors.

use core::time::Duration;

use heapless::Vec;
use ipc_transport::{Instant, Interest, Watched, wait};
use ipc_worker::{Launch, Restart};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::ask::{Ask, LogWorker};
use super::intake::Intake;
use super::kernel::Kernel;
use super::ledger::{Finish, Ledger, Name};
use super::line::{Datagram, Sender};
use super::listener::{Listener, say_if_short};
use super::policy::WhenFull;
use super::ready::{PidFile, Readiness};
use super::say::{self, Failed, complain, fail};
use super::signals::Signals;
use super::watch::Watch;
use super::words::Named;
use crate::program::MESSAGE;

/// Most bytes of a request besides the message: time of receipt, sender and two lengths.
pub(crate) const HEAD: usize = 15 + 16 + 2 * 10;
/// Most messages that one round of the loop takes.
const BATCH: usize = 64;
/// A log daemon retries without a limit, at most every 10 s: its clients wait, and nothing is lost.
pub(crate) const RESTART: Restart = Restart::STANDARD.limit(u32::MAX);
/// How long the worker may take to remove the mark once everything is written. Also the limit if
/// main must stop at once.
const FINISH: Duration = Duration::from_secs(5);
const QUICKLY: Duration = Duration::from_secs(1);
/// How long to write received messages if the start fails at its end.
const FAILED: Duration = Duration::from_secs(5);
/// How long to pause if the system is short of memory.
const SHORTAGE: Duration = Duration::from_millis(1);

/// What main has opened, and its settings.
pub(crate) struct Sources {
    pub(crate) listener: Listener,
    pub(crate) kernel: Option<Kernel>,
    pub(crate) signals: Signals,
    pub(crate) readiness: Readiness,
    pub(crate) pid_file: Option<PidFile>,
    pub(crate) when_full: WhenFull,
    /// Lines name their sender.
    pub(crate) is_trusted: bool,
    /// How long a stop may take.
    pub(crate) stop_within: Duration,
}

/// The running daemon.
pub(crate) struct Daemon<'a, L: Launch, W> {
    /// Borrowed, because its buffers are large.
    worker: &'a mut LogWorker<L>,
    sources: Sources,
    ledger: Ledger,
    watch: W,
    intake: Intake<&'static mut [u8]>,
    gate: Gate,
    /// The deadline of a stop that has begun.
    stop_until: Option<Instant>,
    reopen: bool,
    /// The deadline for the worker's answer that everything is written.
    finish_until: Option<Instant>,
    /// Memory for one message.
    buffer: &'static mut [u8],
}

/// Whether messages are received from the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// The intake is full. Clients wait in the kernel.
    Paused,
    /// Every accepted message has been received.
    Drained,
}

impl<'a, L: Launch, W: Watch> Daemon<'a, L, W>
where
    LogWorker<L>: Ask,
{
    /// Takes the memory for the intake, and for one message of [`MESSAGE`] bytes.
    pub(crate) fn new(
        worker: &'a mut LogWorker<L>,
        sources: Sources,
        mut watch: W,
        [intake, buffer]: [&'static mut [u8]; 2],
    ) -> Self {
        watch.ready(Instant::now(), worker.pid().unwrap_or(0));
        Self {
            worker,
            sources,
            ledger: Ledger::new(complain, LogWorker::<L>::dropped),
            watch,
            intake: Intake::new(intake),
            gate: Gate::Open,
            stop_until: None,
            reopen: false,
            finish_until: None,
            buffer,
        }
    }

    /// Reports readiness, and serves until told to stop.
    pub(crate) fn serve(mut self) -> Result<(), Failed> {
        if let Err(failed) = self.sources.pid_file.as_mut().map_or(Ok(()), PidFile::write) {
            self.begin_stop(FAILED);
            _ = self.run();
            return Err(failed);
        }
        self.sources.readiness.ready();
        say_if_short();
        let result = self.run();
        // While the directory is still locked, because the next daemon may use the same file.
        drop(self.sources.pid_file.take());
        result
    }

    /// Runs until told to stop, and writes what was accepted until then.
    fn run(&mut self) -> Result<(), Failed> {
        while !self.is_over() {
            self.wait();
            let (counts, counters) = (&self.ledger.counts, self.worker.counters());
            self.watch.tick(Instant::now(), counts, &counters);
            self.heed_signals();
            self.read()?;
            self.feed();
            self.worker.turn(Instant::now());
            let pid = self.worker.pid();
            while let Some(event) = self.worker.next_event() {
                self.watch.note(&event, pid);
                self.ledger.note(event);
            }
            self.tell_dropped();
            self.feed();
            self.finish();
            say::settle(Instant::now());
        }
        self.sources.listener.close();
        // From here on every lost message is named.
        say::say_all();
        let left = self.ledger.under_way + self.intake.count();
        let deadline = self.until().unwrap_or_else(Instant::now);
        self.worker.stop(deadline, |event| {
            self.watch.note(&event, None);
            self.ledger.note(event);
        });
        if left == 0 && self.ledger.finish != Finish::Answered && self.ledger.gave_up().is_none() {
            complain(format_args!("all is written, but the mark of a running daemon stays"));
        }
        let uncounted = self.ledger.close();
        let unread = self.name_unwritten();
        let result = match self.ledger.gave_up() {
            Some(reason) => Err(fail(format_args!("{reason}"))),
            None if left > 0 || unread > 0 || uncounted > 0 => {
                Err(fail(format_args!("stopped before everything was written")))
            }
            None => Ok(()),
        };
        say::close();
        let (counts, counters) = (&self.ledger.counts, self.worker.counters());
        self.watch.end(Instant::now(), counts, &counters);
        result
    }

    fn is_over(&self) -> bool {
        let is_late = self.until().is_some_and(|until| until <= Instant::now());
        self.ledger.finish == Finish::Answered || is_late || self.ledger.gave_up().is_some()
    }

    /// Returns when the daemon must end.
    fn until(&self) -> Option<Instant> {
        self.finish_until.or(self.stop_until)
    }

    /// Returns whether everything is written, and nothing more will come.
    fn is_written(&self) -> bool {
        let is_empty = self.intake.count() == 0 && self.ledger.under_way == 0;
        self.gate == Gate::Drained && is_empty
    }

    /// Lets the worker remove the mark at the end. The end is clean only if nothing was left.
    fn finish(&mut self) {
        if !self.is_written() {
            return;
        }
        let now = Instant::now();
        let until = self.stop_until.unwrap_or(now).min(now + FINISH).max(now + QUICKLY);
        self.finish_until.get_or_insert(until);
        if self.ledger.finish == Finish::Untold && self.ledger.is_told() && self.worker.finish() {
            self.ledger.finish = Finish::Asked;
        }
    }

    /// Waits for the next tick, message, event or signal.
    fn wait(&self) {
        let dues = [
            self.worker.next_deadline(),
            Some(self.watch.next_tick()),
            Some(say::deadline()),
            self.until(),
        ];
        let wake = dues.into_iter().flatten().min();
        let input = |fd| Watched::new(fd, Interest::Input);
        let Sources { signals, listener, kernel, .. } = &self.sources;
        let kernel = kernel.as_ref().map(AsFd::as_fd);
        let messages = [Some(listener.as_fd()), kernel].into_iter().flatten();
        let messages = messages.filter(|_| self.gate == Gate::Open);
        let fds = [signals.as_fd(), self.worker.as_fd()].into_iter().chain(messages);
        let mut watched: Vec<Watched<'_>, 4> = fds.map(input).collect();
        // If poll fails, carry on: everything is checked in any case.
        if wait(&mut watched, wake).is_err() {
            pause();
        }
    }

    fn heed_signals(&mut self) {
        let told = self.sources.signals.take();
        self.reopen |= told.reopen;
        if told.stop && self.stop_until.is_none() {
            self.begin_stop(self.sources.stop_within);
        }
        if told.quit {
            self.begin_stop(Duration::ZERO);
        }
        if self.reopen && self.worker.has_room_for(0, 0) {
            // If the request is lost with its worker, the next worker reopens the log anyway.
            self.reopen = !self.worker.reopen();
        }
    }

    /// Stops once everything received is written, or when `within` has passed.
    fn begin_stop(&mut self, within: Duration) {
        let until = Instant::now() + within;
        self.stop_until = Some(until);
        self.finish_until = self.finish_until.map(|before| before.min(until));
        self.sources.listener.close();
        self.sources.readiness.stopping();
        // A worker stopped by a signal would write nothing.
        let worker = self.worker.pid().filter(|_| within > Duration::ZERO);
        if let Some(worker) = worker.and_then(Pid::from_raw) {
            _ = kill_process(worker, Signal::CONT);
        }
    }

    /// Receives messages while the intake has room for the longest.
    fn read(&mut self) -> Result<(), Failed> {
        self.read_kernel();
        for _ in 0..BATCH {
            if self.gate == Gate::Drained || !self.make_room() {
                return Ok(());
            }
            match self.sources.listener.receive(self.buffer) {
                Ok(Some(datagram)) => take(&mut self.ledger, &mut self.intake, &datagram),
                Ok(None) => {
                    if self.stop_until.is_some() {
                        self.gate = Gate::Drained;
                    }
                    return Ok(());
                }
                Err(error @ (Errno::NOMEM | Errno::NOBUFS)) => {
                    complain(format_args!("cannot receive: {}; trying again", Named(error)));
                    pause();
                    return Ok(());
                }
                Err(error) => return Err(fail(format_args!("--socket: {}", Named(error)))),
            }
        }
        Ok(())
    }

    /// Receives the kernel's messages, which wait in the kernel if the intake is full.
    fn read_kernel(&mut self) {
        for _ in 0..BATCH {
            let is_over = self.gate == Gate::Drained || !self.intake.has_room_for(MESSAGE);
            let Some(kernel) = self.sources.kernel.as_ref().filter(|_| !is_over) else { return };
            let Some(datagram) = kernel.receive(self.buffer) else { return };
            take(&mut self.ledger, &mut self.intake, &datagram);
        }
    }

    /// Makes room in the intake, as the policy says. Returns whether to receive a message.
    fn make_room(&mut self) -> bool {
        if !self.intake.has_room_for(MESSAGE) {
            match self.sources.when_full {
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

    /// Passes messages to the worker, while it has room for them.
    fn feed(&mut self) {
        while let Some(datagram) = self.intake.front() {
            if !self.worker.has_room_for(HEAD + datagram.bytes.len(), 0) {
                return;
            }
            let sender = match datagram.sender {
                Sender::Process(_) if !self.sources.is_trusted => Sender::Unnamed,
                sender => sender,
            };
            // No deadline: a late message is better than none.
            match self.worker.append(&Datagram { sender, ..datagram }, Name::of(&datagram)) {
                Ok(()) => self.ledger.under_way += 1,
                // There was room a moment ago, so this is a bug. Name the lost message.
                Err(why) => {
                    self.ledger.counts.lost += 1;
                    complain(format_args!("lost ({why}): {}", Name::of(&datagram)));
                }
            }
            self.intake.pop();
        }
    }

    /// Tells the worker about dropped messages that it does not know of.
    fn tell_dropped(&mut self) {
        if let Some((count, error)) = self.ledger.take_drops() {
            if !self.worker.add_dropped(count, error) {
                self.ledger.put_back(count);
            }
        }
    }

    /// Names and counts what was accepted but can no longer be written. The socket accepts nothing
    /// more, so this ends.
    fn name_unwritten(&mut self) -> u64 {
        let mut count = 0;
        while let Some(datagram) = self.intake.front() {
            complain(format_args!("lost (not begun): {}", Name::of(&datagram)));
            self.intake.pop();
            count += 1;
        }
        let unread = self.sources.listener.name_unread();
        self.ledger.counts.received += unread;
        count += unread;
        self.ledger.counts.lost += count;
        count
    }
}

fn take(ledger: &mut Ledger, intake: &mut Intake<&'static mut [u8]>, datagram: &Datagram<'_>) {
    ledger.counts.received += 1;
    if !intake.push(datagram) {
        ledger.note_overflow();
    }
}

fn pause() {
    _ = wait(&mut [], Some(Instant::now() + SHORTAGE));
}
