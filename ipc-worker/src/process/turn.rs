//! One turn after the other: what the phase of a worker's life asks for.

use core::mem;

use ipc_barrier::process::Ended;
use ipc_transport::{Instant, Interest, Watched, wait};

use super::exchange::Wait;
use super::launch::Launch;
use super::state::{GRACE, Phase, SLICE, Turn};
use crate::event::GiveUp;
use crate::start_error::StartError;

impl<L: Launch, Tag, const SLOTS: usize, const BYTES: usize> Turn<'_, L, Tag, SLOTS, BYTES> {
    /// Starts for the first time, and waits until requests can be run.
    pub(crate) fn start(&mut self) -> Result<(), StartError> {
        let launched = self.launch();
        while matches!(self.life.phase, Phase::Starting { .. }) {
            self.sleep(self.deadline());
            self.greet();
        }
        for child in &mut self.life.unreaped {
            // It was killed; one that does not end even so cannot be helped.
            _ = child.wait_until(Instant::now() + GRACE);
        }
        launched?;
        // Nobody need be told of what the caller has waited for.
        self.life.pending.started = None;
        let Phase::Leaving(leaving) = &mut self.life.phase else {
            return Ok(());
        };
        let ended = leaving.process.child.wait_until(Instant::now() + GRACE);
        let error = leaving.why(ended.unwrap_or(Ended::Unknown));
        self.life.phase = Phase::Stopped;
        error.map_or(Ok(()), Err)
    }

    /// Does all I/O there is to do, a bounded amount.
    pub(crate) fn run(&mut self) {
        self.caller.expire(self.now, self.life.words());
        if L::IN_MAIN {
            return self.run_in_main();
        }
        self.life.reap();
        match self.life.phase {
            Phase::Starting { .. } => self.greet(),
            Phase::Serving(_) => self.exchange(Wait::None),
            Phase::Leaving(_) => self.leave(),
            _ => {}
        }
        if matches!(self.life.phase, Phase::Resting { until } if self.now >= until) {
            self.restart();
        }
    }

    /// Waits for something to do, until `wake` at the latest, and does it.
    pub(crate) fn wait(&mut self, wake: Instant) {
        // One blocking call instead of a poll and a call, where its timeout fits.
        if self.life.can_block() && wake.since(self.now) > SLICE + SLICE {
            self.caller.expire(self.now, self.life.words());
            return self.exchange(Wait::Slice);
        }
        self.sleep(wake);
        self.run();
    }

    /// Begins to end: no further worker, and the one there is has until the deadline.
    pub(crate) fn close(&mut self, deadline: Instant) {
        self.life.is_closing = true;
        match mem::replace(&mut self.life.phase, Phase::Stopped) {
            Phase::Serving(process) => {
                let has_work = self.caller.has_work();
                self.let_leave(process, if has_work { self.now } else { deadline });
            }
            phase @ Phase::Starting { .. } => {
                self.life.phase = phase;
                self.begin_leaving(true, None);
            }
            phase @ Phase::Leaving(_) => self.life.phase = phase,
            _ => self.life.ended = None,
        }
    }

    /// Returns when the next turn is due at the latest.
    pub(crate) fn deadline(&self) -> Instant {
        self.life.deadline(self.caller.outbox.has_unsent())
    }

    fn run_in_main(&mut self) {
        let Phase::InMain { sequence } = &mut self.life.phase else {
            return;
        };
        if let Err(refusal) = self.launch.run(self.caller, sequence) {
            self.give_up(GiveUp::NotSettled(refusal));
        }
    }

    fn sleep(&mut self, wake: Instant) {
        if wake > self.now {
            // If the wait fails, the turn is early, which harms nothing.
            _ = wait(&mut [Watched::new(self.life.fd(), Interest::Input)], Some(wake));
        }
        self.now = Instant::now();
    }
}
