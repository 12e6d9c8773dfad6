//! The end of a process and what follows: last words, its status, its requests' fates.

use core::mem;

use ipc_barrier::process::Ended;
use ipc_transport::{Arrived, Instant};
use rustix::fd::AsFd;

use super::state::{GRACE, Leaving, Phase, Process, SOON, Turn};
use super::watch::unwatch;
use crate::event::GiveUp;
use crate::ledger::Next;
use crate::start_error::StartError;

impl<L, Tag, const SLOTS: usize, const BYTES: usize> Turn<'_, L, Tag, SLOTS, BYTES> {
    /// Ends a worker that has ended by itself, has closed or is of no use.
    pub(super) fn begin_leaving(&mut self, drained: bool, failed: Option<StartError>) {
        match mem::replace(&mut self.life.phase, Phase::Stopped) {
            Phase::Serving(process) | Phase::Starting { process, .. } => {
                let mut leaving = Leaving::new(process, self.now);
                (leaving.drained, leaving.failed) = (drained, failed);
                // For one that is ending by itself this changes nothing, not even its status.
                leaving.kill(self.now);
                if drained {
                    unwatch(self.life.fd(), leaving.process.stream.as_fd());
                }
                leaving.ended = leaving.process.child.try_wait();
                self.life.phase = Phase::Leaving(leaving);
            }
            phase => self.life.phase = phase,
        }
    }

    /// Lets a worker end by itself: it is told that nothing will follow, and killed at the deadline.
    pub(super) fn let_leave(&mut self, mut process: Process, deadline: Instant) {
        // A worker that is gone already needs no word.
        _ = process.stream.close_sending();
        self.life.phase = Phase::Leaving(Leaving::new(process, deadline));
    }

    /// Takes a leaving worker's last words, waits for its status, and then sees to its requests.
    pub(super) fn leave(&mut self) {
        let Phase::Leaving(leaving) = &mut self.life.phase else {
            return;
        };
        leaving.process.looked = self.now;
        leaving.ended = leaving.ended.or_else(|| leaving.process.child.try_wait());
        if leaving.ended.is_none() && self.now >= leaving.kill_at {
            leaving.kill(self.now);
        }
        let is_over = leaving.is_over(self.now);
        if !leaving.drained && !self.caller.has_frame() {
            if is_over && leaving.left.is_none() {
                leaving.left = Some(leaving.process.stream.waiting());
            }
            match self.caller.receive(&mut leaving.process.stream) {
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
        let drained = leaving.drained;
        if drained {
            unwatch(self.life.epoll.as_fd(), leaving.process.stream.as_fd());
        }
        let is_told = !self.caller.has_answer() && !self.life.pending.is_any();
        if drained && is_over && is_told {
            self.bury();
        }
    }

    fn bury(&mut self) {
        let Phase::Leaving(leaving) = mem::replace(&mut self.life.phase, Phase::Stopped) else {
            return;
        };
        let ended = leaving.ended.unwrap_or(Ended::Unknown);
        let why = leaving.why(ended);
        self.life.ended = Some(ended);
        if self.life.is_closing {
            self.caller.lose_all(Some(leaving.process.words()));
        } else if why.is_none() {
            self.life.resent += self.caller.settle_fates(leaving.process.words());
            self.life.pending.died = Some(ended);
        }
        self.caller.begin_anew();
        // Before another is made, which would inherit what is still open.
        let Process { child, .. } = leaving.process;
        self.life.put_aside(child);
        self.follow(why);
    }

    /// Decides what follows a worker that is gone, or did not start.
    pub(super) fn follow(&mut self, failed: Option<StartError>) {
        if self.life.is_closing {
            return;
        }
        match self.life.supervisor.ended(self.now) {
            Next::StartAt(at) => {
                let soonest = if failed.is_some() { self.now + SOON } else { self.now };
                self.life.phase = Phase::Resting { until: at.max(soonest) };
            }
            Next::GiveUp { count, window } => {
                self.give_up(GiveUp::TooManyEnds { count, window, last: failed });
            }
        }
    }

    pub(super) fn give_up(&mut self, reason: GiveUp) {
        self.caller.lose_all(None);
        self.life.phase = Phase::Stopped;
        self.life.pending.gave_up = Some(reason);
    }
}

impl Leaving {
    const fn new(process: Process, kill_at: Instant) -> Self {
        let (ended, left, failed) = (None, None, None);
        Self { process, kill_at, killed: false, ended, drained: false, left, failed }
    }

    fn kill(&mut self, now: Instant) {
        if !self.killed {
            // One that cannot be killed ends when it sees that main has closed.
            _ = self.process.child.kill();
            (self.killed, self.kill_at) = (true, now);
        }
    }

    /// Returns whether its status is known, or not to be waited for any longer.
    fn is_over(&self, now: Instant) -> bool {
        self.ended.is_some() || (self.killed && now.since(self.kill_at) >= GRACE)
    }

    /// Returns why it never was ready, if it was not.
    pub(super) fn why(&self, ended: Ended) -> Option<StartError> {
        match self.failed? {
            StartError::Died(_) => Some(StartError::Died(ended)),
            error => Some(error),
        }
    }

    /// Returns when it is to be looked at again at the latest.
    pub(super) fn deadline(&self) -> Instant {
        if self.ended.is_some() {
            return Instant::PAST;
        }
        let next = if self.killed { self.kill_at + GRACE } else { self.kill_at };
        match self.process.child.pidfd() {
            Some(_) => next,
            // Its end may show nowhere else.
            None => next.min(self.process.looked + SOON),
        }
    }
}
