//! The start of a process: created, watched, and served once its first frame has arrived.

use core::time::Duration;

use ipc_barrier::process::Ended;
use ipc_transport::{Arrived, TransportError};

use super::launch::Launch;
use super::main::Main;
use super::medium::Medium;
use super::state::Phase;
use crate::blocks::Lend;
use crate::counters::add;
use crate::start_error::StartError;

/// How soon to retry while too many killed processes are not reaped.
const LATER: Duration = Duration::from_secs(1);

impl<Tag, L: Launch, const SLOTS: usize, const BYTES: usize> Main<Tag, L, SLOTS, BYTES> {
    /// Begins to run requests: starts and watches a process, or prepares to run them in main.
    pub(super) fn launch(&mut self) -> Result<(), StartError> {
        self.life.open_reserve();
        let deadline = self.life.now + self.life.policy.ready_within;
        let holds = |id| self.caller.table.holds(id);
        self.launch.blocks_mut().begin(SLOTS, &holds)?;
        let made = self.launch.begin(&self.life.policy, deadline, &mut self.caller);
        let watched = match made? {
            None => {
                (self.life.phase, self.life.started) = (Phase::InMain, true);
                return Ok(());
            }
            Some(process) => {
                let [main, _] = L::Medium::ENDS;
                self.medium = main();
                self.life.adopt(process)
            }
        };
        (self.life.phase, self.life.until) = (Phase::Starting, deadline);
        if let Err(error) = watched {
            self.fail(error.into());
        }
        Ok(())
    }

    /// Starts the next process, or decides what follows if that fails.
    pub(super) fn restart(&mut self) {
        if self.life.unreaped.is_full() {
            (self.life.phase, self.life.until) = (Phase::Resting, self.life.now + LATER);
            return;
        }
        self.life.phase = Phase::Stopped;
        if let Err(error) = self.launch() {
            self.life.failed = Some(error);
            self.follow();
        }
    }

    /// Looks for the first frame of a new process.
    pub(super) fn greet(&mut self) {
        let Some(process) = &mut self.life.process else {
            return;
        };
        process.looked = self.life.now;
        // Asked first, so that everything written before the end is received after this.
        let ended = process.child.try_wait();
        let received = self.caller.receive(&mut process.link(&mut self.medium, None));
        self.life.has_more = matches!(received, Ok(Arrived::Bytes(_) | Arrived::TakeFrames));
        let error = match (self.caller.first_frame(self.life.policy.expected), received) {
            (Some(Ok(uses_ring)), _) if !uses_ring || process.has_ring() => {
                process.uses_ring = uses_ring;
                process.see_what_shows(&self.medium);
                self.life.phase = Phase::Serving;
                self.life.supervisor.started = self.life.now;
                self.life.started = true;
                return;
            }
            (Some(first), _) => {
                // The worker says that it uses a ring, but main offered none.
                let error = first.err().unwrap_or(StartError::Malformed);
                let is_lie = !matches!(error, StartError::Failed(_));
                add(&mut self.caller.last.counters.wrong_first_frames, is_lie.into());
                error
            }
            (None, _) if ended.is_some() => StartError::Died(Ended::Unknown),
            (None, Err(TransportError::System(error))) => StartError::System(error),
            (None, Ok(Arrived::Bytes(_))) => return,
            (None, Ok(_) | Err(TransportError::Exhausted(_)))
                if self.life.now < self.life.until =>
            {
                _ = received.is_err() && self.is_patient();
                return;
            }
            (None, Ok(_) | Err(TransportError::Exhausted(_))) => {
                add(&mut self.caller.last.counters.killed_starting, 1);
                StartError::TimedOut
            }
            (None, Err(_)) => StartError::Died(Ended::Unknown),
        };
        self.fail(error);
    }

    /// Ends a process that is not ready.
    fn fail(&mut self, error: StartError) {
        self.life.failed = Some(error);
        // Whatever it sent is ignored.
        self.caller.inbox.reset();
        self.break_off();
    }
}
