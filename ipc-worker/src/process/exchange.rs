//! The traffic with a worker that serves: what is queued goes out, what has come is taken in.

use core::time::Duration;

use ipc_transport::{Arrived, Errno, Instant, Patience, SystemError, TransportError};
use rustix::io;

use super::state::{Life, Main, Phase, Process, SLICE, SOON};

/// How often the process of a busy worker is looked at.
const LOOK: Duration = Duration::from_millis(10);

impl<Tag, L, const SLOTS: usize, const BYTES: usize> Main<Tag, L, SLOTS, BYTES> {
    /// Sends what is queued and receives once. With patience it waits for bytes, one slice of time.
    pub(super) fn exchange(&mut self, patience: Option<Patience>) {
        let expects = self.caller.outbox.has_sent();
        let sent = self.send();
        let Some(process) = &mut self.life.process else {
            return;
        };
        let received = match patience {
            _ if process.broken => return self.begin_leaving(self.now, true),
            // Nothing can have been answered yet, so the call would be in vain.
            None if sent > 0 && !expects => return,
            // Something still waits to be sent, which comes first.
            Some(_) if process.watches_room || self.now < process.send_after => return,
            None => self.caller.receive(&mut process.stream),
            Some(patience) => self.caller.receive(&mut process.stream.blocking().with(patience)),
        };
        let Ok(received) = received else {
            // Replies were all received before this; an error says as much as an end.
            return self.begin_leaving(self.now, true);
        };
        let brought = matches!(received, Arrived::Bytes(_));
        if received == Arrived::WouldBlock && process.send_closed {
            // A peer that is gone has data or an end for us: this one only does not listen.
            return self.begin_leaving(self.now, false);
        }
        // A blocking receive that brought something has shown life enough, for a while: another
        // process may hold the socket too.
        let pause = if patience.is_some() && brought { SLICE } else { LOOK };
        let is_idle = !brought && sent == 0;
        if is_idle || self.now.since(process.looked) >= pause {
            process.looked = self.now;
            if process.child.try_wait().is_some() {
                self.begin_leaving(self.now, false);
            }
        }
    }

    /// Sends what is queued, unless a start is still to be told: calls made upon that go first.
    fn send(&mut self) -> usize {
        let Some(process) = &mut self.life.process else {
            return 0;
        };
        let held_back = self.life.started || self.now < process.send_after;
        if held_back || process.send_closed || process.broken {
            return 0;
        }
        let was_full = process.watches_room;
        let mut sent = 0;
        // What was waiting for room may have been taken back meanwhile.
        let mut watches_room = false;
        loop {
            match self.caller.outbox.flush_with(&mut process.stream) {
                Ok(flushed) => {
                    sent += flushed.len;
                    watches_room = !flushed.complete;
                }
                Err(error) if passes(&error) => process.send_after = self.now + SOON,
                Err(error) => match refused(&error) {
                    // The next frame is tried at once.
                    Some(error) if self.caller.unsendable(error) => continue,
                    // Replies that the worker has written are still taken.
                    _ => process.send_closed = true,
                },
            }
            break;
        }
        self.life.watch_room(watches_room);
        if was_full && sent > 0 {
            // One that was given up while half sent keeps its room until all of it is out.
            self.caller.room_is_back();
        }
        sent
    }
}

impl Life {
    /// Whether one blocking receive may replace a poll and a receive.
    pub(super) const fn can_block(&self) -> bool {
        match (self.phase, &self.process) {
            (Phase::Serving, Some(process)) => {
                !process.watches_room && !process.broken && !self.started
            }
            _ => false,
        }
    }

    /// Returns when the next turn is due at the latest.
    pub(crate) fn deadline(&self, has_unsent: bool) -> Instant {
        match (self.phase, &self.process) {
            (Phase::InMain, _) if has_unsent => Instant::PAST,
            (Phase::Resting { until }, _) => until,
            (Phase::Leaving(leaving), Some(process)) => {
                leaving.deadline(process, self.ended.is_some())
            }
            (Phase::Starting { deadline }, Some(process)) => deadline.min(process.unwatched()),
            (Phase::Serving, Some(process)) if process.broken || process.send_closed => {
                Instant::PAST
            }
            (Phase::Serving, Some(process)) if has_unsent && !process.watches_room => {
                process.send_after
            }
            (Phase::Serving, Some(process)) => process.unwatched(),
            _ => Instant::NEVER,
        }
    }
}

impl Process {
    /// When to look at a process whose end may show nowhere else.
    fn unwatched(&self) -> Instant {
        match self.child.pidfd() {
            Some(_) => Instant::NEVER,
            None => self.looked + SLICE,
        }
    }
}

/// Whether the same call may succeed a little later.
fn passes(error: &TransportError) -> bool {
    match error {
        TransportError::TooManyInFlight => true,
        TransportError::System(error) => {
            [io::Errno::NOBUFS, io::Errno::NOMEM].map(Errno::from).contains(&error.errno)
        }
        _ => false,
    }
}

/// What the kernel has against the descriptors of one frame, if it is that.
fn refused(error: &TransportError) -> Option<SystemError> {
    let concerns = [io::Errno::INVAL, io::Errno::BADF, io::Errno::PERM].map(Errno::from);
    match *error {
        TransportError::FdsRefused => Some(SystemError::of("sendmsg")(io::Errno::PERM)),
        TransportError::System(error) if concerns.contains(&error.errno) => Some(error),
        _ => None,
    }
}
