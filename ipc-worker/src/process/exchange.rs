//! The traffic with a worker that serves: what is queued goes out, what has come is taken in.

use core::time::Duration;

use ipc_transport::{Arrived, Errno, Instant, SystemError, TransportError};
use rustix::fd::AsFd;
use rustix::io;

use super::state::{Phase, Process, Processes, SOON};
use super::watch::watch_room;
use crate::caller::Caller;

/// The longest that one blocking receive lasts: so late is a death noticed if the socket stays open
/// since another process holds it too.
pub(super) const SLICE: Duration = Duration::from_millis(100);

/// How often the process of a busy worker is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Whether an exchange may wait for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    None,
    Slice,
}

impl Processes {
    /// Whether one blocking receive may replace a poll and a receive.
    pub(super) const fn can_block(&self) -> bool {
        match &self.phase {
            Phase::Serving(process) => {
                !process.watches_room && !process.broken && self.pending.started.is_none()
            }
            _ => false,
        }
    }

    /// Sends what is queued and receives once.
    pub(super) fn exchange<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        now: Instant,
        wait: Wait,
    ) {
        let expects = caller.outbox.has_sent();
        let sent = self.send(caller, now);
        let Phase::Serving(process) = &mut self.phase else {
            return;
        };
        let received = match wait {
            _ if process.broken => return self.begin_leaving(now, true, None),
            // Nothing can have been answered yet, so the call would be in vain.
            Wait::None if sent > 0 && !expects => return,
            Wait::Slice if process.watches_room => return,
            Wait::None => caller.receive(&mut process.stream),
            Wait::Slice => {
                let mut stream = process.stream.blocking().with(self.policy.patience);
                caller.receive(&mut stream)
            }
        };
        let Ok(received) = received else {
            // Replies were all received before this; an error says as much as an end.
            return self.begin_leaving(now, true, None);
        };
        let brought = matches!(received, Arrived::Bytes(_));
        if received == Arrived::WouldBlock && process.send_closed {
            // A peer that is gone has data or an end for us: this one only does not listen.
            return self.begin_leaving(now, false, None);
        }
        // A blocking receive that brought something has shown life enough.
        let is_busy = wait == Wait::Slice && brought;
        let is_idle = !brought && sent == 0;
        if is_idle || (!is_busy && now.since(process.looked) >= LOOK) {
            process.looked = now;
            if process.child.try_wait().is_some() {
                self.begin_leaving(now, false, None);
            }
        }
    }

    /// Sends what is queued, unless a start is still to be told: calls made upon that go first.
    fn send<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        now: Instant,
    ) -> usize {
        let Phase::Serving(process) = &mut self.phase else {
            return 0;
        };
        let held_back = self.pending.started.is_some() || now < process.send_after;
        if held_back || process.send_closed || process.broken {
            return 0;
        }
        let mut sent = 0;
        // What was waiting for room may have been taken back meanwhile.
        let mut watches_room = false;
        loop {
            match caller.outbox.flush_with(&mut process.stream) {
                Ok(flushed) => {
                    sent += flushed.len;
                    watches_room = !flushed.complete;
                }
                Err(error) if passes(&error) => process.send_after = now + SOON,
                Err(error) => match refused(&error) {
                    // The next frame is tried at once.
                    Some(error) if caller.unsendable(error) => continue,
                    // Replies that the worker has written are still taken.
                    _ => process.send_closed = true,
                },
            }
            break;
        }
        if watches_room != process.watches_room {
            process.watches_room = watches_room;
            let (epoll, stream) = (self.epoll.as_fd(), process.stream.as_fd());
            process.broken |= watch_room(epoll, stream, watches_room).is_err();
        }
        sent
    }

    /// When a serving worker wants the next turn at the latest.
    pub(super) fn serving_deadline(process: &Process, has_unsent: bool) -> Instant {
        if process.broken || process.send_closed {
            Instant::PAST
        } else if has_unsent && !process.watches_room {
            process.send_after
        } else if process.child.pidfd().is_none() {
            // Its end may show nowhere else.
            process.looked + SLICE
        } else {
            Instant::NEVER
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
