//! The start of a process: made, watched, and served once its first frame has come.

use core::mem;
use core::time::Duration;

use ipc_barrier::process::{Ended, ForkError};
use ipc_transport::{Arrived, TransportError};

use super::launch::Launch;
use super::state::{Phase, Turn};
use crate::event::GiveUp;
use crate::start_error::StartError;

/// How soon to try again where too many killed processes are still there.
const LATER: Duration = Duration::from_secs(1);

impl<L: Launch, Tag, const SLOTS: usize, const BYTES: usize> Turn<'_, L, Tag, SLOTS, BYTES> {
    /// Begins to run requests: makes a process, which is watched from then on, or runs them in main.
    pub(super) fn launch(&mut self) -> Result<(), StartError> {
        let Some(mut process) = self.launch.begin(self.life.policy.patience, self.caller)? else {
            self.life.phase = Phase::InMain { sequence: 0 };
            return Ok(());
        };
        if let Err(error) = self.life.watch(&process) {
            // One that cannot be killed ends when it sees that main has closed.
            _ = process.child.kill();
            self.life.put_aside(process.child);
            return Err(error.into());
        }
        process.looked = self.now;
        let deadline = self.now + self.life.policy.ready_within;
        self.life.phase = Phase::Starting { process, deadline };
        Ok(())
    }

    /// Makes the next process, or decides what follows where that fails.
    pub(super) fn restart(&mut self) {
        if self.life.unreaped.is_full() {
            self.life.phase = Phase::Resting { until: self.now + LATER };
            return;
        }
        self.life.phase = Phase::Stopped;
        match self.launch() {
            Ok(()) => {}
            Err(
                error @ StartError::Fork(ForkError::Threads { .. } | ForkError::ThreadsUnknown),
            ) => self.give_up(GiveUp::CannotStart(error)),
            Err(error) => self.follow(Some(error)),
        }
    }

    /// Looks for the first frame of a new process.
    pub(super) fn greet(&mut self) {
        let Phase::Starting { process, deadline } = &mut self.life.phase else {
            return;
        };
        process.looked = self.now;
        // Asked first: what it has written before its end is received after this.
        let ended = process.child.try_wait();
        let received = self.caller.receive(&mut process.stream);
        let is_late = self.now >= *deadline;
        let error = match (self.caller.first_frame(), ended, received) {
            (Some(Ok(())), ..) => return self.begin_serving(),
            (Some(Err(error)), ..) => error,
            (None, Some(ended), _) => StartError::Died(ended),
            (None, None, Err(TransportError::Closed)) => StartError::Died(Ended::Unknown),
            (None, None, Err(TransportError::System(error))) => StartError::System(error),
            (None, None, Err(_)) => StartError::Malformed,
            (None, None, Ok(Arrived::Bytes(_))) => return,
            (None, None, Ok(_)) if is_late => StartError::TimedOut,
            (None, None, Ok(_)) => return,
        };
        self.begin_leaving(true, Some(error));
    }

    fn begin_serving(&mut self) {
        match mem::replace(&mut self.life.phase, Phase::Stopped) {
            Phase::Starting { process, .. } => {
                self.life.phase = Phase::Serving(process);
                self.life.supervisor.started(self.now);
                self.life.pending.started = Some(mem::take(&mut self.life.resent));
            }
            phase => self.life.phase = phase,
        }
    }
}
