//! The end of a process and what follows: last words, its status, its requests' fates, another.

use core::mem;
use core::time::Duration;

use ipc_barrier::{Child, Ended, ForkError};
use ipc_transport::{Arrived, Instant};
use rustix::fd::AsFd;

use crate::event::GiveUp;
use crate::handler::Handler;
use crate::start::StartError;
use crate::supervise::Next;
use crate::worker::Worker;
use crate::worker::launch::not_started;
use crate::worker::life::{Leaving, Phase, Process, SOON};
use crate::worker::watch::unwatch;

/// Most descriptors of one frame.
const FDS: usize = ipc_frame::MAX_FDS as usize;

/// How long a process that was killed is waited for before its status counts as unknown: one in
/// uninterruptible sleep ignores even SIGKILL.
pub(super) const GRACE: Duration = Duration::from_millis(200);

/// How soon to try again where too many killed processes are still there.
const LATER: Duration = Duration::from_secs(1);

impl<Tag, H: Handler, const SLOTS: usize, const BYTES: usize> Worker<Tag, H, SLOTS, BYTES> {
    /// Makes an end of a worker that has ended, has closed or is of no use.
    pub(super) fn begin_leaving(&mut self, now: Instant, drained: bool) {
        match mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Serving(mut process) => {
                // For one that is ending by itself this changes nothing, not even its status.
                _ = process.child.kill();
                if drained {
                    unwatch(self.epoll.as_fd(), process.stream.as_fd());
                }
                let ended = process.child.try_wait();
                let (left, unmet) = (None, None);
                let leaving = Leaving { process, since: now, ended, drained, left, unmet };
                self.phase = Phase::Leaving(leaving);
            }
            phase => self.phase = phase,
        }
    }

    /// Takes a leaving worker's last words, waits for its status, and then sees to its requests.
    pub(super) fn leave(&mut self, now: Instant) {
        let Phase::Leaving(leaving) = &mut self.phase else {
            return;
        };
        leaving.process.looked = now;
        leaving.ended = leaving.ended.or_else(|| leaving.process.child.try_wait());
        let is_over = leaving.ended.is_some() || now.since(leaving.since) >= GRACE;
        if !leaving.drained && !self.caller.inbox.has_frame() {
            if is_over && leaving.left.is_none() {
                leaving.left = Some(leaving.process.stream.waiting());
            }
            match self.caller.inbox.receive_with(&mut leaving.process.stream, FDS) {
                Ok(Arrived::Bytes(len)) if leaving.left.is_none_or(|left| left > len) => {
                    leaving.left = leaving.left.map(|left| left - len);
                    return;
                }
                Ok(Arrived::WouldBlock) if !is_over => {}
                // All that the process had written was taken, whoever else holds the socket.
                Ok(_) | Err(_) => leaving.drained = true,
            }
        }
        if leaving.drained {
            unwatch(self.epoll.as_fd(), leaving.process.stream.as_fd());
        }
        if leaving.drained && is_over && !self.has_event() {
            self.bury(now);
        }
    }

    fn bury(&mut self, now: Instant) {
        let Phase::Leaving(leaving) = mem::replace(&mut self.phase, Phase::Stopped) else {
            return;
        };
        let Leaving { process, ended, unmet, .. } = leaving;
        if unmet.is_none() {
            let limit = self.supervisor.policy().resend_limit;
            self.resent += self.caller.settle_fates(&process.slots, limit);
            self.news.died = Some(ended.unwrap_or(Ended::Unknown));
        }
        self.caller.begin_anew();
        // Before another is forked, which would inherit what is still open.
        let Process { child, .. } = process;
        self.put_aside(child);
        let error = unmet.map(|_| not_started(unmet, ended.unwrap_or(Ended::Unknown)));
        self.follow(now, error);
    }

    /// Decides what follows a worker that is gone.
    fn follow(&mut self, now: Instant, error: Option<StartError>) {
        if self.stopping && !self.has_work() {
            return;
        }
        match self.supervisor.ended(now) {
            Next::StartAt(at) if at <= now && error.is_none() => self.restart(now),
            Next::StartAt(at) => self.phase = Phase::Resting { until: at.max(now + SOON) },
            Next::GiveUp { count } => {
                let window = self.supervisor.policy().window;
                self.give_up(GiveUp::TooManyEnds { count, window, last: error });
            }
        }
    }

    pub(super) fn restart(&mut self, now: Instant) {
        let Some(fork) = self.start.fork else {
            return;
        };
        if self.unreaped.is_full() {
            self.phase = Phase::Resting { until: now + LATER };
            return;
        }
        self.phase = Phase::Stopped;
        match self.launch(fork, now) {
            Ok(()) => {}
            Err(
                error @ StartError::Fork(ForkError::Threads { .. } | ForkError::ThreadsUnknown),
            ) => self.give_up(GiveUp::CannotStart(error)),
            Err(error) => self.follow(now, Some(error)),
        }
    }

    pub(super) fn give_up(&mut self, reason: GiveUp) {
        self.caller.lose_all(None);
        self.phase = Phase::Stopped;
        self.news.gave_up = Some(reason);
    }

    /// Keeps a process that was made to end until it is reaped; it stays watched until then.
    pub(super) fn put_aside(&mut self, child: Child) {
        // There is room: a worker is only started while there is.
        _ = self.unreaped.push(child);
        self.reap();
    }

    /// Lets go of the processes that have ended by now.
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
