//! The end of a process and what follows: last words, its status, its requests' fates.

use core::mem;
use core::time::Duration;

use ipc_barrier::process::{Child, Ended};
use ipc_transport::{Arrived, Instant};
use rustix::fd::AsFd;

use super::state::{Leaving, Phase, Process, Processes, SOON};
use super::watch::unwatch;
use crate::caller::Caller;
use crate::event::GiveUp;
use crate::ledger::{Next, Words};
use crate::start_error::StartError;

/// How long a process that was killed is waited for before its status counts as unknown: one in
/// uninterruptible sleep ignores even SIGKILL.
pub(super) const GRACE: Duration = Duration::from_millis(200);

impl Processes {
    /// Ends a worker that has ended by itself, has closed or is of no use.
    pub(super) fn begin_leaving(&mut self, now: Instant, drained: bool, failed: Option<StartError>) {
        match mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Serving(process) | Phase::Starting { process, .. } => {
                let mut leaving = Leaving {
                    process,
                    kill_at: now,
                    killed: false,
                    ended: None,
                    drained,
                    left: None,
                    failed,
                };
                // For one that is ending by itself this changes nothing, not even its status.
                leaving.kill(now);
                if drained {
                    unwatch(self.epoll.as_fd(), leaving.process.stream.as_fd());
                }
                leaving.ended = leaving.process.child.try_wait();
                self.phase = Phase::Leaving(leaving);
            }
            phase => self.phase = phase,
        }
    }

    /// Lets a worker end by itself: it is told that nothing will follow, and killed at the deadline.
    pub(super) fn let_leave(&mut self, mut process: Process, deadline: Instant) {
        // A worker that is gone already needs no word.
        _ = process.stream.close_sending();
        self.phase = Phase::Leaving(Leaving {
            process,
            kill_at: deadline,
            killed: false,
            ended: None,
            drained: false,
            left: None,
            failed: None,
        });
    }

    /// Takes a leaving worker's last words, waits for its status, and then sees to its requests.
    pub(super) fn leave<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        now: Instant,
    ) {
        let Phase::Leaving(leaving) = &mut self.phase else {
            return;
        };
        leaving.process.looked = now;
        leaving.ended = leaving.ended.or_else(|| leaving.process.child.try_wait());
        if leaving.ended.is_none() && now >= leaving.kill_at {
            leaving.kill(now);
        }
        if !leaving.drained && !caller.has_frame() && !leaving.drain(caller, now) {
            return;
        }
        if leaving.drained {
            unwatch(self.epoll.as_fd(), leaving.process.stream.as_fd());
        }
        let is_told = !caller.has_answer() && !self.pending.is_any();
        if leaving.drained && leaving.is_over(now) && is_told {
            self.bury(caller, now);
        }
    }

    fn bury<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        now: Instant,
    ) {
        let Phase::Leaving(leaving) = mem::replace(&mut self.phase, Phase::Stopped) else {
            return;
        };
        let Leaving { process, ended, failed, .. } = leaving;
        let ended = ended.unwrap_or(Ended::Unknown);
        self.ended = Some(ended);
        let words = Words(process.page.words());
        if self.is_closing {
            caller.lose_all(Some(words));
        } else if failed.is_none() {
            self.resent += caller.settle_fates(words);
            self.pending.died = Some(ended);
        }
        caller.begin_anew();
        // Before another is made, which would inherit what is still open.
        let Process { child, .. } = process;
        self.put_aside(child);
        let failed = failed.map(|error| match error {
            StartError::Died(_) => StartError::Died(ended),
            error => error,
        });
        self.follow(caller, now, failed);
    }

    /// Decides what follows a worker that is gone, or did not start.
    pub(super) fn follow<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        now: Instant,
        failed: Option<StartError>,
    ) {
        if self.is_closing {
            return;
        }
        match self.supervisor.ended(now) {
            Next::StartAt(at) if failed.is_none() => self.phase = Phase::Resting { until: at },
            Next::StartAt(at) => self.phase = Phase::Resting { until: at.max(now + SOON) },
            Next::GiveUp { count, window } => {
                self.give_up(caller, GiveUp::TooManyEnds { count, window, last: failed });
            }
        }
    }

    pub(super) fn give_up<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        reason: GiveUp,
    ) {
        caller.lose_all(None);
        self.phase = Phase::Stopped;
        self.pending.gave_up = Some(reason);
    }

    /// Keeps a process that was made to end until it is reaped; it stays watched until then.
    pub(super) fn put_aside(&mut self, child: Child) {
        // There is room: a worker is only started while there is.
        _ = self.unreaped.push(child);
        self.reap();
    }

    /// Drops the processes that have ended by now.
    pub(super) fn reap(&mut self) {
        let epoll = self.epoll.as_fd();
        self.unreaped.retain_mut(|child| {
            let is_left = child.try_wait().is_none();
            if let Some(pidfd) = child.pidfd().filter(|_| !is_left) {
                unwatch(epoll, pidfd);
            }
            is_left
        });
    }
}

impl Leaving {
    fn kill(&mut self, now: Instant) {
        if !self.killed {
            // One that cannot be killed ends when it sees that main has closed.
            _ = self.process.child.kill();
            self.killed = true;
            self.kill_at = now;
        }
    }

    /// Returns whether its status is known, or not to be waited for any longer.
    fn is_over(&self, now: Instant) -> bool {
        self.ended.is_some() || (self.killed && now.since(self.kill_at) >= GRACE)
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

    /// Receives once. Returns false where there is more to receive by the next turn.
    fn drain<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        now: Instant,
    ) -> bool {
        let is_over = self.is_over(now);
        if is_over && self.left.is_none() {
            self.left = Some(self.process.stream.waiting());
        }
        match caller.receive(&mut self.process.stream) {
            Ok(Arrived::Bytes(len)) if self.left.is_none_or(|left| left > len) => {
                self.left = self.left.map(|left| left - len);
                return false;
            }
            Ok(Arrived::TakeFrames) => return false,
            Ok(Arrived::WouldBlock) if !is_over => {}
            // All that the process had written was taken, even if another process holds the socket.
            Ok(_) | Err(_) => self.drained = true,
        }
        true
    }
}
