//! A turn: what each phase of a worker's life does.

use ipc_transport::{Instant, Interest, Watched, wait};
use rustix::fd::AsFd;

use super::launch::Launch;
use super::main::Main;
use super::state::{Phase, SLICE};
use crate::blocks::Lend;
use crate::event::GiveUp;
use crate::start_error::StartError;

impl<Tag, L: Launch, const SLOTS: usize, const BYTES: usize> Main<Tag, L, SLOTS, BYTES> {
    /// Starts the first worker, and waits until it can run requests.
    pub(crate) fn start(&mut self) -> Result<(), StartError> {
        // If the first worker fails, none follows.
        self.life.is_closing = true;
        self.launch()?;
        self.life.fill_reserve();
        while matches!(self.life.phase, Phase::Starting | Phase::Leaving) {
            self.wait(self.life.deadline(false));
        }
        self.life.is_closing = false;
        // The caller waits for this start, so no event reports it.
        self.life.started = false;
        self.life.failed.take().map_or(Ok(()), Err)
    }

    /// Does all I/O, a bounded amount per call.
    pub(crate) fn run(&mut self) {
        self.life.has_more = false;
        self.caller.expire(self.life.now, self.life.words());
        let is_paused = self.life.is_paused();
        match self.life.phase {
            Phase::InMain if !self.life.started => {
                if let Err(refusal) = self.launch.run(&mut self.caller) {
                    self.give_up(GiveUp::NotSettled(refusal));
                }
            }
            Phase::InMain | Phase::Resting | Phase::Stopped => {}
            _ if is_paused => {}
            Phase::Starting => self.greet(),
            Phase::Serving => self.exchange(None),
            Phase::Leaving => self.leave(),
        }
        self.life.reap();
        if self.life.unreaped.is_empty() && self.launch.blocks_mut().all_gone() {
            self.caller.room_is_back();
        }
        let is_due = self.life.phase == Phase::Resting && self.life.now >= self.life.until;
        if is_due && !self.life.has_news() {
            self.restart();
        }
        self.life.fill_reserve();
    }

    /// Waits for something to do other than sending, at most until `wake`, and does it.
    pub(crate) fn wait(&mut self, wake: Instant) {
        let life = &self.life;
        // One blocking call instead of a poll and a call, if its timeout fits. It sends queued
        // frames first.
        let can_block = life.phase == Phase::Serving
            && !life.started
            && life.process.as_ref().is_some_and(|it| !it.watches_room && it.paused.is_none())
            && wake.since(self.life.now) > SLICE + SLICE;
        if can_block {
            self.caller.expire(self.life.now, life.words());
            return self.exchange(Some(life.policy.patience));
        }
        let wake = wake.min(life.deadline(self.caller.outbox.has_unsent()));
        if wake > self.life.now && !life.is_blind() {
            // If the wait fails, the turn is early, which is harmless.
            _ = wait(&mut [Watched::new(life.epoll.as_fd(), Interest::Input)], Some(wake));
        }
        self.life.now = Instant::now();
        self.run();
    }

    /// Begins to stop: no further worker starts, and the current one has until the deadline.
    pub(crate) fn close(&mut self, deadline: Instant) {
        self.life.is_closing = true;
        match (self.life.phase, &mut self.life.process) {
            (Phase::Serving, Some(process)) => {
                // A worker that is already gone needs no end of file.
                _ = process.stream.close_sending();
                self.begin_leaving(deadline);
            }
            (Phase::Starting, _) => self.break_off(),
            (Phase::Leaving, _) => {}
            _ => (self.life.phase, self.life.ended) = (Phase::Stopped, None),
        }
    }
}
