//! The traffic with a worker that serves: what is queued goes out, what has come is taken in.

use core::time::Duration;

use ipc_transport::{Arrived, Instant, Patience, TransportError};

use super::launch::Launch;
use super::main::Main;
use super::state::{Life, Phase, SLICE, SOON};
use crate::counters::add;
use crate::ledger::Ending;

/// How often the process of a busy worker is looked at.
const LOOK: Duration = Duration::from_millis(10);

impl<Tag, L: Launch, const SLOTS: usize, const BYTES: usize> Main<Tag, L, SLOTS, BYTES> {
    /// Sends what is queued and receives once. With patience it waits for bytes, one slice of time.
    pub(super) fn exchange(&mut self, patience: Option<Patience>) {
        if let (Some(_), Some(process)) = (patience, &mut self.life.process) {
            process.stop_showing(&mut self.medium);
        }
        let expects = self.caller.outbox.has_sent();
        let Some(sent) = self.send() else {
            // Replies that it has written are still taken.
            return self.begin_leaving(self.life.now);
        };
        let Some(process) = &mut self.life.process else {
            return;
        };
        let received = match patience {
            // Nothing can have been answered yet, so the call would mostly be in vain. What else
            // shows, a note or an end, may show no second time.
            None if sent > 0 && !expects && process.shows => {
                self.life.has_more = true;
                return;
            }
            // Something still waits to be sent, which comes first.
            Some(_) if process.watches_room || process.paused.is_some() => return,
            _ => {
                let received = self.caller.receive(&mut process.link(&mut self.medium, patience));
                process.see_what_shows(&self.medium);
                received
            }
        };
        self.life.has_more = matches!(received, Ok(Arrived::Bytes(_) | Arrived::TakeFrames));
        let brought = match received {
            Ok(Arrived::Bytes(_)) => true,
            Ok(_) => false,
            Err(TransportError::Exhausted(_)) if self.is_patient() => false,
            // Replies were all received before this; an error says as much as an end.
            Err(error) => {
                let is_lie = error == TransportError::BrokenRing;
                add(&mut self.caller.last.counters.broken_frames, is_lie.into());
                return self.break_off();
            }
        };
        if matches!(received, Ok(Arrived::Bytes(_) | Arrived::WouldBlock)) {
            self.life.heard = self.life.now;
        }
        let Some(process) = &mut self.life.process else {
            return;
        };
        if brought || sent > 0 {
            process.shortage = None;
        }
        // A blocking receive that brought something has shown life enough, for a while: another
        // process may hold the socket too.
        let pause = if patience.is_some() && brought { SLICE } else { LOOK };
        if (!brought && sent == 0) || self.life.now.since(process.looked) >= pause {
            process.looked = self.life.now;
            if process.child.try_wait().is_some() {
                self.begin_leaving(self.life.now);
            }
        }
    }

    /// Returns whether a call that failed for the moment is to be made again: after a pause, and
    /// for a limited time in all.
    pub(super) fn is_patient(&mut self) -> bool {
        let is_patient = self.life.pause();
        add(&mut self.caller.last.counters.pauses, is_patient.into());
        is_patient
    }

    /// Sends what is queued, unless a start is still to be told: calls made upon that go first.
    /// `None` where nothing more can be sent to the worker.
    fn send(&mut self) -> Option<usize> {
        let process = self.life.process.as_mut()?;
        if self.life.started {
            return Some(0);
        }
        if self.caller.table.reply_fds() > 0 && !process.passes_rights {
            process.passes_rights = true;
            process.stream.pass_rights(true);
        }
        let was_full = process.watches_room;
        let mut sent = 0;
        // What was waiting for room may have been taken back meanwhile.
        let mut watches_room = false;
        loop {
            let flushed = self.caller.outbox.flush_with(&mut process.link(&mut self.medium, None));
            match flushed {
                Ok(flushed) => {
                    sent += flushed.len;
                    watches_room = !flushed.complete;
                }
                // The next frame is tried at once.
                Err(TransportError::FdsRefused(error))
                    if self.caller.end_next(1, Ending::Unsendable(error)) =>
                {
                    continue;
                }
                Err(TransportError::Exhausted(_)) if self.is_patient() => {}
                Err(_) => return None,
            }
            break;
        }
        add(&mut self.caller.last.counters.stalls, (watches_room && !was_full).into());
        self.life.watch_room(watches_room).ok()?;
        if was_full && sent > 0 {
            // One that was given up while half sent keeps its room until all of it is out.
            self.caller.room_is_back();
        }
        Some(sent)
    }
}

impl Life {
    /// Returns whether the descriptor may not show what comes next: a turn sees to that.
    pub(crate) fn is_blind(&self) -> bool {
        let is_used = matches!(self.phase, Phase::Serving | Phase::Leaving);
        self.process.as_ref().is_some_and(|it| is_used && !it.shows && !it.drained)
    }

    /// Returns when the next turn is due at the latest.
    pub(crate) fn deadline(&self, has_unsent: bool) -> Instant {
        let Some(process) = &self.process else {
            return match self.phase {
                Phase::InMain if has_unsent => Instant::PAST,
                Phase::Resting => self.until,
                _ => Instant::NEVER,
            };
        };
        if let Some(paused) = process.paused {
            return paused;
        }
        // Without a pidfd its end may show nowhere else.
        let pause = if self.phase == Phase::Leaving { SOON } else { SLICE };
        let look = process.child.pidfd().map_or(process.looked + pause, |_| Instant::NEVER);
        match self.phase {
            Phase::Leaving if self.ended.is_some() => Instant::PAST,
            Phase::Serving if has_unsent && !process.watches_room => Instant::PAST,
            Phase::Serving => look.min(self.running.due),
            _ => look.min(self.until),
        }
    }
}
