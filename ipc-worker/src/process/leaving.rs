//! The end of a process: last words, status, and the fates of its requests.

use core::mem;
use core::time::Duration;

use ipc_barrier::process::Ended;
use ipc_transport::{Arrived, Instant, TransportError};
use rustix::event::epoll;

use super::launch::Launch;
use super::main::Main;
use super::state::{GRACE, Life, Phase, Process, SOON};
use crate::blocks::Lend;
use crate::counters::add;
use crate::event::GiveUp;
use crate::ledger::{Overdue, Restart, Running, Words};
use crate::start_error::StartError;

impl<Tag, L: Launch, const SLOTS: usize, const BYTES: usize> Main<Tag, L, SLOTS, BYTES> {
    /// Lets the process exit, and kills it at the deadline.
    #[inline(never)] // It has many callers.
    pub(super) fn begin_leaving(&mut self, kill_at: Instant) {
        (self.life.phase, self.life.until) = (Phase::Leaving, kill_at);
        self.life.running = Running::NONE;
    }

    /// Checks how long the worker has been running its current request, and ends one that runs too
    /// long. All frames from the worker must have been reported.
    pub(crate) fn watch_running(&mut self) {
        let mut limit = self.life.policy.limit;
        let has_none = limit.time == Duration::MAX && !self.caller.last.has_limits;
        if has_none || self.life.phase != Phase::Serving {
            return;
        }
        let words = self.life.words();
        let request = self.caller.running(words).map(|request| {
            limit.time = limit.time.min(request.time_limit);
            request.id
        });
        let Life { now, heard, running, .. } = &mut self.life;
        match running.look(request, limit, *now, *heard) {
            Overdue::Not => {}
            Overdue::AskToStop => {
                // Its answer may wait for another running request.
                let words = self.life.words();
                self.caller.sent().for_each(|request| words.ask_to_stop(request.id));
            }
            Overdue::Kill => {
                self.kill();
                add(&mut self.caller.last.counters.killed_overdue, 1);
            }
        }
    }

    /// Marks the process to be killed at the next turn, which first takes its last replies. Returns
    /// false without a process, or if it is already leaving.
    pub(crate) fn kill(&mut self) -> bool {
        let may = self.life.process.is_some() && self.life.phase != Phase::Leaving;
        if may {
            self.begin_leaving(self.life.now);
        }
        may
    }

    /// Receives nothing more from the process, and ends it.
    pub(crate) fn break_off(&mut self) {
        if let Some(process) = &mut self.life.process {
            process.drained = true;
            if self.life.phase != Phase::Leaving {
                self.begin_leaving(self.life.now);
            }
        }
    }

    /// Receives a leaving worker's last frames, waits for its status, then decides about its
    /// requests.
    pub(super) fn leave(&mut self) {
        let Some(process) = &mut self.life.process else {
            return;
        };
        process.looked = self.life.now;
        self.life.ended = self.life.ended.or_else(|| process.child.try_wait());
        if self.life.ended.is_none() && self.life.now >= self.life.until {
            if process.killed {
                self.life.ended = Some(Ended::Unknown);
            }
            // A process that cannot be killed ends when it sees that main has closed.
            _ = process.child.kill();
            (process.killed, self.life.until) = (true, self.life.now + GRACE);
        }
        let is_over = self.life.ended.is_some();
        if !process.drained && !self.caller.inbox.has_frame() {
            if is_over && process.left.is_none() {
                process.left = Some(process.waiting(&mut self.medium));
            }
            let received = self.caller.receive(&mut process.link(&mut self.medium, None));
            process.see_what_shows(&self.medium);
            self.life.has_more = true;
            let is_short = matches!(received, Err(TransportError::Exhausted(_)));
            if is_short && self.is_patient() {
                return;
            }
            let Some(process) = &mut self.life.process else {
                return;
            };
            match received {
                Ok(Arrived::TakeFrames) => return,
                Ok(Arrived::Bytes(len)) if process.left.is_none_or(|left| left > len) => {
                    process.left = process.left.map(|left| left - len);
                    return;
                }
                Ok(Arrived::WouldBlock) if !is_over => {}
                // All that it wrote was received, even if another process still holds the socket.
                Ok(_) | Err(_) => process.drained = true,
            }
        }
        let Some(process) = self.life.process.as_ref().filter(|process| process.drained) else {
            self.life.has_more = false;
            return;
        };
        self.life.has_more = is_over;
        // Closing is not enough: while a child holds a copy, epoll keeps watching it. The stream
        // may not be watched at all, so errors are ignored.
        _ = epoll::delete(&self.life.epoll, &process.stream);
        if is_over && !self.caller.has_answer() && !self.life.has_news() {
            self.bury();
        }
    }

    fn bury(&mut self) {
        self.life.phase = Phase::Stopped;
        let ended = self.life.ended.unwrap_or(Ended::Unknown);
        let dropped = self.life.credit().dropped();
        add(&mut self.caller.last.counters.notes_dropped, dropped.into());
        if self.life.is_closing {
            self.caller.lose_all(self.life.words());
        } else {
            // Also after a failed start: nothing was sent, but what was put first loses its place.
            self.caller.settle_fates(self.life.words());
            self.life.died = self.life.failed.is_none().then_some(ended);
        }
        self.caller.begin_anew();
        // Close this before the next process is made, which would inherit it.
        if let Some(Process { mut child, .. }) = self.life.process.take() {
            // The kernel may still copy bytes for a killed process that has not ended.
            self.launch.blocks_mut().bury(child.try_wait().is_some());
            // This fits: a worker is only started while there is room.
            _ = self.life.unreaped.push(child);
        }
        self.life.fill_reserve();
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
        let Some(at) = supervisor.ended(self.life.now) else {
            let Restart { limit, window, .. } = supervisor.policy;
            let count = limit.saturating_add(1);
            return self.give_up(GiveUp::TooManyEnds { count, window, last });
        };
        self.life.not_started = last;
        let soonest = if last.is_some() { self.life.now + SOON } else { self.life.now };
        (self.life.phase, self.life.until) = (Phase::Resting, at.max(soonest));
    }

    pub(super) fn give_up(&mut self, reason: GiveUp) {
        self.caller.lose_all(Words::default());
        self.life.phase = Phase::Stopped;
        self.life.gave_up = Some(reason);
    }
}
