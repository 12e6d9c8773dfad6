//! One turn after the other: what the phase of a worker's life asks for.

use core::mem;

use heapless::Vec;
use ipc_barrier::process::{Child, Ended};
use ipc_transport::{Instant, Interest, SystemError, Watched, above_stdio, wait};
use rustix::event::epoll;
use rustix::fd::{AsFd, BorrowedFd};

use super::exchange::{SLICE, Wait};
use super::leaving::GRACE;
use super::spawn::Spawn;
use super::state::{Phase, Processes};
use crate::caller::Caller;
use crate::event::Pending;
use crate::launch::{Policy, Run};
use crate::ledger::{Supervisor, Words};
use crate::start_error::StartError;

impl Processes {
    /// Does what the phase asks for.
    fn step<L: Spawn, Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        launch: &mut L,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        now: Instant,
    ) {
        self.reap();
        match self.phase {
            Phase::Starting { .. } => self.greet(caller, now),
            Phase::Serving(_) => self.exchange(caller, now, Wait::None),
            Phase::Leaving(_) => self.leave(caller, now),
            Phase::Resting { .. } | Phase::Stopped => {}
        }
        if matches!(self.phase, Phase::Resting { until } if now >= until) {
            self.restart(launch, caller, now);
        }
    }

    fn sleep(&self, wake: Instant) {
        // If the wait fails, the turn is early, which harms nothing.
        _ = wait(&mut [Watched::new(self.epoll.as_fd(), Interest::Input)], Some(wake));
    }
}

impl<L: Spawn> Run<L> for Processes {
    fn open(policy: Policy) -> Result<Self, StartError> {
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(SystemError::of("epoll_create1"))?;
        Ok(Self {
            policy,
            phase: Phase::Stopped,
            epoll: above_stdio(epoll)?,
            supervisor: Supervisor::new(policy.restart),
            pending: Pending::default(),
            unreaped: Vec::new(),
            resent: 0,
            is_closing: false,
            ended: None,
        })
    }

    fn start<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        launch: &mut L,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
    ) -> Result<(), StartError> {
        let launched = self.launch(launch, caller, Instant::now());
        while matches!(self.phase, Phase::Starting { .. }) {
            self.sleep(Run::<L>::deadline(self, caller));
            self.greet(caller, Instant::now());
        }
        for child in &mut self.unreaped {
            // It was killed; one that does not end even so cannot be helped.
            _ = child.wait_until(Instant::now() + GRACE);
        }
        launched?;
        // The caller need not be told of what it has waited for.
        self.pending.started = None;
        match mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Leaving(mut leaving) => {
                let ended = leaving.process.child.wait_until(Instant::now() + GRACE);
                Err(match leaving.failed {
                    Some(StartError::Died(_)) | None => {
                        StartError::Died(ended.unwrap_or(Ended::Unknown))
                    }
                    Some(error) => error,
                })
            }
            phase => {
                self.phase = phase;
                Ok(())
            }
        }
    }

    fn turn<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        launch: &mut L,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        now: Instant,
    ) {
        caller.expire(now, self.phase.words());
        self.step(launch, caller, now);
    }

    fn wait<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        launch: &mut L,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        wake: Instant,
    ) {
        let now = Instant::now();
        // One blocking call instead of a poll and a call, where its timeout fits.
        if self.can_block() && wake.since(now) > SLICE + SLICE {
            caller.expire(now, self.phase.words());
            return self.exchange(caller, now, Wait::Slice);
        }
        if wake > now {
            self.sleep(wake);
        }
        self.turn(launch, caller, Instant::now());
    }

    fn close<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        deadline: Instant,
    ) {
        self.is_closing = true;
        let now = Instant::now();
        match mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Serving(process) => {
                self.let_leave(process, if caller.has_work() { now } else { deadline });
            }
            phase @ Phase::Starting { .. } => {
                self.phase = phase;
                self.begin_leaving(now, true, None);
            }
            phase @ Phase::Leaving(_) => self.phase = phase,
            Phase::Resting { .. } | Phase::Stopped => self.ended = None,
        }
    }

    fn closed(&self) -> Option<Option<Ended>> {
        match self.phase {
            Phase::Stopped => Some(self.ended),
            _ => None,
        }
    }

    fn break_off(&mut self) {
        match &mut self.phase {
            Phase::Serving(process) => process.broken = true,
            Phase::Leaving(leaving) => leaving.drained = true,
            _ => {}
        }
    }

    fn deadline<Tag, const SLOTS: usize, const BYTES: usize>(
        &self,
        caller: &Caller<Tag, SLOTS, BYTES>,
    ) -> Instant {
        match &self.phase {
            Phase::Starting { process, deadline } => match process.child.pidfd() {
                Some(_) => *deadline,
                None => (*deadline).min(process.looked + SLICE),
            },
            Phase::Serving(process) => {
                Self::serving_deadline(process, caller.outbox.has_unsent())
            }
            Phase::Leaving(leaving) => leaving.deadline(),
            Phase::Resting { until } => *until,
            Phase::Stopped => Instant::NEVER,
        }
    }

    fn is_running(&self) -> bool {
        !matches!(self.phase, Phase::Stopped)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    fn pid(&self) -> Option<i32> {
        self.phase.child().map(Child::pid)
    }

    fn words(&self) -> Option<Words<'_>> {
        self.phase.words()
    }

    fn pending(&mut self) -> &mut Pending {
        &mut self.pending
    }

    fn has_pending(&self) -> bool {
        self.pending.is_any()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if let Some(child) = self.phase.child_mut() {
            // One that cannot be killed ends when it sees that main has closed.
            _ = child.kill();
            child.try_wait();
        }
        for child in &mut self.unreaped {
            child.try_wait();
        }
    }
}
