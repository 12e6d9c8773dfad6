//! The start of a process: forked, met at the barrier, and from then on watched.

use core::mem;

use ipc_barrier::{Barrier, Child, Ended, Fork, ParentEnd, Unmet};
use ipc_transport::{Instant, Stream, SystemError};
use rustix::fd::AsFd;

use crate::child::{self, Legacy};
use crate::handler::Handler;
use crate::slots::Slots;
use crate::start::{ForkFn, StartError};
use crate::worker::Worker;
use crate::worker::exchange::SLICE;
use crate::worker::leave::GRACE;
use crate::worker::life::{Phase, Process};
use crate::worker::watch::{unwatch, watch};

impl<Tag, H: Handler, const SLOTS: usize, const BYTES: usize> Worker<Tag, H, SLOTS, BYTES> {
    /// Starts the first worker and waits for it.
    pub(super) fn start_first(&mut self) -> Result<(), StartError> {
        let Some(fork) = self.start.fork else {
            return self.start_inline();
        };
        if let Err(error) = self.launch(fork, Instant::now()) {
            for child in &mut self.unreaped {
                // It was killed; one that does not end even so cannot be helped.
                _ = child.wait_until(Instant::now() + GRACE);
            }
            return Err(error);
        }
        let Phase::Starting { end, deadline, .. } = &mut self.phase else {
            return Ok(());
        };
        let met = end.wait_next_until(*deadline);
        self.begin_serving(Instant::now(), met.err());
        let Phase::Leaving(leaving) = &mut self.phase else {
            return Ok(());
        };
        let ended = leaving.process.child.wait_until(Instant::now() + GRACE);
        let error = not_started(leaving.unmet, ended.unwrap_or(Ended::Unknown));
        self.phase = Phase::Stopped;
        Err(error)
    }

    /// Forks and lays the ground for the meeting.
    pub(super) fn launch(&mut self, fork: ForkFn, now: Instant) -> Result<(), StartError> {
        let barrier = Barrier::new()?;
        let (mut stream, theirs) = Stream::pair()?;
        stream.set_receive_timeout(SLICE)?;
        let slots = Slots::new(SLOTS)?;
        self.caller.queue_all(&slots);
        let child = match fork()? {
            Fork::Parent(child) => child,
            Fork::Child(guard) => {
                let legacy = Legacy {
                    end: barrier.into_child(),
                    stream: theirs,
                    slots: &slots,
                    handler: &mut self.start.handler,
                    keep: &self.start.keep,
                    patience: self.start.patience,
                    inbox: &mut self.caller.inbox,
                    outbox: &mut self.caller.outbox,
                };
                child::run(guard, legacy)
            }
        };
        let mut process = Process::new(child, stream, slots, now);
        match self.watch_barrier(barrier, &process.child) {
            Ok(end) => {
                let deadline = now + self.start.ready_within;
                self.phase = Phase::Starting { process, end, deadline };
                Ok(())
            }
            Err(error) => {
                // One that cannot be killed ends when it sees that main has closed.
                _ = process.child.kill();
                self.put_aside(process.child);
                Err(error.into())
            }
        }
    }

    fn watch_barrier(&self, barrier: Barrier, child: &Child) -> Result<ParentEnd, SystemError> {
        let mut end = barrier.into_parent().watching(child)?;
        watch(self.epoll.as_fd(), end.watch()?)?;
        Ok(end)
    }

    /// Looks whether the new worker is ready.
    pub(super) fn meet(&mut self, now: Instant) {
        let Phase::Starting { end, deadline, .. } = &mut self.phase else {
            return;
        };
        let unmet = loop {
            match end.try_wait_next() {
                Ok(true) => break None,
                Ok(false) if now >= *deadline => break Some(Unmet::TimedOut),
                // Where it has placed meanwhile, the next look is met.
                Ok(false) if end.arm() => return,
                Ok(false) => {}
                Err(unmet) => break Some(unmet),
            }
        };
        self.begin_serving(now, unmet);
        if matches!(self.phase, Phase::Serving(_)) {
            self.news.started = Some(mem::take(&mut self.resent));
        }
    }

    /// Ends the start-up: the worker serves from now on, or leaves again.
    fn begin_serving(&mut self, now: Instant, unmet: Option<Unmet>) {
        let Phase::Starting { process, mut end, .. } =
            mem::replace(&mut self.phase, Phase::Stopped)
        else {
            return;
        };
        if let Ok(barrier) = end.watch() {
            unwatch(self.epoll.as_fd(), barrier);
        }
        let watched = self.watch_process(&process);
        self.phase = Phase::Serving(process);
        if unmet.is_some() || watched.is_err() {
            self.begin_leaving(now, true);
            if let Phase::Leaving(leaving) = &mut self.phase {
                leaving.unmet = Some(unmet.unwrap_or(Unmet::Aborted(None)));
            }
        } else {
            self.supervisor.started(now);
        }
    }

    fn watch_process(&self, process: &Process) -> Result<(), SystemError> {
        watch(self.epoll.as_fd(), process.stream.as_fd())?;
        match process.child.pidfd() {
            Some(pidfd) => watch(self.epoll.as_fd(), pidfd),
            None => Ok(()),
        }
    }
}

/// Why a worker did not start, from what the barrier and the process have shown.
pub(super) fn not_started(unmet: Option<Unmet>, ended: Ended) -> StartError {
    match unmet {
        Some(Unmet::Aborted(Some(reason))) => StartError::Failed(reason),
        Some(Unmet::TimedOut) => StartError::TimedOut,
        _ => StartError::Died(ended),
    }
}
