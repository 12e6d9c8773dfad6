//! The traffic with a worker that serves: sends queued frames, and receives.

use core::time::Duration;

use ipc_transport::{Arrived, Instant, Patience, TransportError};

use super::launch::Launch;
use super::main::Main;
use super::state::{Life, Phase, SLICE, SOON};
use crate::counters::add;
use crate::ledger::Ending;

/// How often to check the process of a busy worker.
const LOOK: Duration = Duration::from_millis(10);

impl<Tag, L: Launch, const SLOTS: usize, const BYTES: usize> Main<Tag, L, SLOTS, BYTES> {
    /// Sends queued frames and receives once. With patience, it waits for bytes for up to one
    /// slice.
    pub(super) fn exchange(&mut self, patience: Option<Patience>) {
        if let (Some(_), Some(process)) = (patience, &mut self.life.process) {
            process.stop_showing(&mut self.medium);
        }
        let expects = self.caller.outbox.has_sent();
        let Some(sent) = self.send() else {
            // Its last replies are still received.
            return self.begin_leaving(self.life.now);
        };
        let Some(process) = &mut self.life.process else {
            return;
        };
        let received = match patience {
            // Nothing can have been answered yet, so a receive would usually be in vain. But other
            // news, such as a note or an end, may not show a second time.
            None if sent > 0 && !expects && process.shows => {
                self.life.has_more = true;
                return;
            }
            // There is still something to send, which comes first.
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
            // All replies were received before this. An error means the same as an end.
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
        // A blocking receive that returned bytes shows that the worker lives. Skip the check for a
        // while, but not for long: another process may hold the socket too.
        let pause = if patience.is_some() && brought { SLICE } else { LOOK };
        if (!brought && sent == 0) || self.life.now.since(process.looked) >= pause {
            process.looked = self.life.now;
            if process.child.try_wait().is_some() {
                self.begin_leaving(self.life.now);
            }
        }
    }

    /// Returns whether to repeat a call that failed temporarily: after a pause, and for a limited
    /// total time.
    pub(super) fn is_patient(&mut self) -> bool {
        let is_patient = self.life.pause();
        add(&mut self.caller.last.counters.pauses, is_patient.into());
        is_patient
    }

    /// Sends queued frames, unless [`Event::Started`](crate::Event::Started) is not reported yet:
    /// the calls that main makes then go first. `None` if nothing more can be sent to the worker.
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
        // The frames that waited for room may have been taken back meanwhile.
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
            // A frame that was given up when half sent keeps its room until all of it is sent.
            self.caller.room_is_back();
        }
        Some(sent)
    }
}

impl Life {
    /// Returns whether the descriptor may not show the next event, so that a turn has to look.
    pub(crate) fn is_blind(&self) -> bool {
        let is_used = matches!(self.phase, Phase::Serving | Phase::Leaving);
        self.process.as_ref().is_some_and(|it| is_used && !it.shows && !it.drained)
    }

    /// Returns the latest time for the next turn.
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
        // Without a pidfd, the process's end may show nowhere else.
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
