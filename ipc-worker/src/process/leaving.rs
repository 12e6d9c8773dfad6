//! The end of a process and what follows: last words, its status, its requests' fates.

use core::mem;

use ipc_barrier::process::Ended;
use ipc_transport::{Arrived, Instant};

use super::state::{GRACE, Leaving, Main, Phase, Process, SOON};
use crate::event::GiveUp;
use crate::start_error::StartError;

impl<Tag, L, const SLOTS: usize, const BYTES: usize> Main<Tag, L, SLOTS, BYTES> {
    /// Lets the process end by itself, and kills it at the deadline.
    #[inline(never)] // Many paths lead here.
    pub(super) fn begin_leaving(&mut self, kill_at: Instant, drained: bool) {
        self.life.ended = None;
        self.life.phase = Phase::Leaving(Leaving { kill_at, killed: false, drained, left: None });
    }

    /// Takes a leaving worker's last words, waits for its status, and then sees to its requests.
    pub(super) fn leave(&mut self) {
        let (Phase::Leaving(leaving), Some(process)) =
            (&mut self.life.phase, &mut self.life.process)
        else {
            return;
        };
        process.looked = self.now;
        self.life.ended = self.life.ended.or_else(|| process.child.try_wait());
        if self.life.ended.is_none() && !leaving.killed && self.now >= leaving.kill_at {
            // One that cannot be killed ends when it sees that main has closed.
            _ = process.child.kill();
            (leaving.killed, leaving.kill_at) = (true, self.now);
        }
        let is_over = self.life.ended.is_some()
            || (leaving.killed && self.now.since(leaving.kill_at) >= GRACE);
        leaving.drained |= process.broken;
        if !leaving.drained && !self.caller.inbox.has_frame() {
            if is_over && leaving.left.is_none() {
                leaving.left = Some(process.stream.waiting());
            }
            match self.caller.receive(&mut process.stream) {
                Ok(Arrived::TakeFrames) => return,
                Ok(Arrived::Bytes(len)) if leaving.left.is_none_or(|left| left > len) => {
                    leaving.left = leaving.left.map(|left| left - len);
                    return;
                }
                Ok(Arrived::WouldBlock) if !is_over => {}
                // All that it had written was taken, even if another process holds the socket.
                Ok(_) | Err(_) => leaving.drained = true,
            }
        }
        if !leaving.drained {
            return;
        }
        self.life.unwatch();
        if is_over && !self.caller.has_answer() && !self.life.has_news() {
            self.bury();
        }
    }

    fn bury(&mut self) {
        self.life.phase = Phase::Stopped;
        let ended = *self.life.ended.get_or_insert(Ended::Unknown);
        if let Some(words) = self.life.words() {
            if self.life.is_closing {
                self.caller.lose_all(Some(words));
            } else if self.life.failed.is_none() {
                self.life.resent += self.caller.settle_fates(words);
                self.life.died = Some(ended);
            }
        }
        self.caller.begin_anew();
        // Before another is made, which would inherit what is still open.
        self.life.put_aside();
        if let Some(StartError::Died(status)) = &mut self.life.failed {
            *status = ended;
        }
        self.follow();
    }

    /// Decides what follows a worker that is gone, or did not start.
    pub(super) fn follow(&mut self) {
        if self.life.is_closing {
            return;
        }
        let last = mem::take(&mut self.life.failed);
        let supervisor = &mut self.life.supervisor;
        let Some(at) = supervisor.ended(self.now) else {
            let (count, window) = (supervisor.ends, supervisor.policy.window);
            return self.give_up(GiveUp::TooManyEnds { count, window, last });
        };
        let soonest = if last.is_some() { self.now + SOON } else { self.now };
        self.life.phase = Phase::Resting { until: at.max(soonest) };
    }

    pub(super) fn give_up(&mut self, reason: GiveUp) {
        self.caller.lose_all(None);
        self.life.phase = Phase::Stopped;
        self.life.gave_up = Some(reason);
    }
}

impl Leaving {
    /// Returns when the process is to be looked at again at the latest.
    pub(super) fn deadline(&self, process: &Process, has_ended: bool) -> Instant {
        if has_ended {
            return Instant::PAST;
        }
        let next = if self.killed { self.kill_at + GRACE } else { self.kill_at };
        match process.child.pidfd() {
            Some(_) => next,
            // Its end may show nowhere else.
            None => next.min(process.looked + SOON),
        }
    }
}
