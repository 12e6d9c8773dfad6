//! The start of a process: made, watched, and served once its first frame has come.

use core::mem;
use core::time::Duration;

use ipc_barrier::process::ForkError;
use ipc_transport::{Arrived, Instant, SharedPage, Stream, SystemError, TransportError};
use rustix::fd::AsFd;

use super::exchange::SLICE;
use super::spawn::{Given, Spawn};
use super::state::{Phase, Process, Processes};
use super::watch::watch;
use crate::caller::Caller;
use crate::event::GiveUp;
use crate::ledger::Words;
use crate::start_error::StartError;

/// How soon to try again where too many killed processes are still there.
const LATER: Duration = Duration::from_secs(1);

impl Processes {
    /// Makes a process, which is watched from then on.
    pub(super) fn launch<L: Spawn, Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        launch: &mut L,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        now: Instant,
    ) -> Result<(), StartError> {
        let (mut stream, theirs) = Stream::pair()?;
        stream.set_receive_timeout(SLICE)?;
        let page = SharedPage::new(SLOTS)?;
        caller.offer_all(Words(page.words()));
        let given = Given { stream: theirs, page: &page, patience: self.policy.patience };
        let child = launch.spawn(given, caller)?;
        let mut process = Process {
            child,
            stream,
            page,
            watches_room: false,
            send_closed: false,
            broken: false,
            send_after: Instant::PAST,
            looked: now,
        };
        if let Err(error) = self.watch_process(&process) {
            // One that cannot be killed ends when it sees that main has closed.
            _ = process.child.kill();
            self.put_aside(process.child);
            return Err(error.into());
        }
        let deadline = now + self.policy.ready_within;
        self.phase = Phase::Starting { process, deadline };
        Ok(())
    }

    fn watch_process(&self, process: &Process) -> Result<(), SystemError> {
        watch(self.epoll.as_fd(), process.stream.as_fd())?;
        match process.child.pidfd() {
            Some(pidfd) => watch(self.epoll.as_fd(), pidfd),
            None => Ok(()),
        }
    }

    /// Makes the next process, or decides what follows where that fails.
    pub(super) fn restart<L: Spawn, Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        launch: &mut L,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        now: Instant,
    ) {
        if self.unreaped.is_full() {
            self.phase = Phase::Resting { until: now + LATER };
            return;
        }
        self.phase = Phase::Stopped;
        match self.launch(launch, caller, now) {
            Ok(()) => {}
            Err(
                error @ StartError::Fork(ForkError::Threads { .. } | ForkError::ThreadsUnknown),
            ) => self.give_up(caller, GiveUp::CannotStart(error)),
            Err(error) => self.follow(caller, now, Some(error)),
        }
    }

    /// Looks for the first frame of a new process.
    pub(super) fn greet<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        now: Instant,
    ) {
        let Phase::Starting { process, deadline } = &mut self.phase else {
            return;
        };
        // Asked first: what it has written before its end is received after this.
        let ended = process.child.try_wait();
        let received = caller.receive(&mut process.stream);
        match caller.first_frame() {
            Some(Ok(())) => return self.begin_serving(now),
            Some(Err(error)) => return self.begin_leaving(now, true, Some(error)),
            None => {}
        }
        let is_gone = matches!(received, Err(TransportError::Closed));
        match (ended, received) {
            (Some(ended), _) => self.begin_leaving(now, true, Some(StartError::Died(ended))),
            (None, Err(error)) if !is_gone => {
                let error = match error {
                    TransportError::System(error) => StartError::System(error),
                    _ => StartError::Malformed,
                };
                self.begin_leaving(now, true, Some(error));
            }
            (None, Err(_)) => {
                let unknown = ipc_barrier::process::Ended::Unknown;
                self.begin_leaving(now, true, Some(StartError::Died(unknown)));
            }
            (None, Ok(Arrived::Bytes(_))) => {}
            (None, Ok(_)) if now < *deadline => {}
            (None, Ok(_)) => self.begin_leaving(now, true, Some(StartError::TimedOut)),
        }
    }

    fn begin_serving(&mut self, now: Instant) {
        match mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Starting { process, .. } => {
                self.phase = Phase::Serving(process);
                self.supervisor.started(now);
                self.pending.started = Some(mem::take(&mut self.resent));
            }
            phase => self.phase = phase,
        }
    }
}
