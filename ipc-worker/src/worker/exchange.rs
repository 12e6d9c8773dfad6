//! The traffic with a worker that serves: what is queued goes out, what has come is taken in.

use core::time::Duration;

use ipc_transport::{Arrived, Instant, TransportError};
use rustix::fd::AsFd;
use rustix::io::Errno;

use crate::handler::Handler;
use crate::worker::Worker;
use crate::worker::life::{Phase, SOON};
use crate::worker::watch::watch_room;

/// Most descriptors of one frame.
const FDS: usize = ipc_frame::MAX_FDS as usize;

/// The longest that one blocking receive lasts: so late is a death noticed at which the socket
/// stays open since another process holds it too.
pub(super) const SLICE: Duration = Duration::from_millis(100);

/// How often the process of a busy worker is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Whether an exchange may wait for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    None,
    Slice,
}

impl<Tag, H: Handler, const SLOTS: usize, const BYTES: usize> Worker<Tag, H, SLOTS, BYTES> {
    /// Whether one blocking receive may stand for a poll and a receive.
    pub(super) const fn can_block(&self) -> bool {
        match &self.phase {
            Phase::Serving(process) => {
                !process.watches_room && !process.broken && self.news.started.is_none()
            }
            _ => false,
        }
    }

    /// Sends what is queued and receives once.
    pub(super) fn exchange(&mut self, now: Instant, wait: Wait) {
        let expects = self.caller.outbox.has_sent();
        let sent = self.send(now);
        let Phase::Serving(process) = &mut self.phase else {
            return;
        };
        let received = match wait {
            _ if process.broken => return self.begin_leaving(now, true),
            // Nothing can have been answered yet, so that the call would be in vain.
            Wait::None if sent > 0 && !expects => return,
            Wait::Slice if process.watches_room => return,
            Wait::None => self.caller.inbox.receive_with(&mut process.stream, FDS),
            Wait::Slice => {
                let mut stream = process.stream.blocking().with(self.start.patience);
                self.caller.inbox.receive_with(&mut stream, FDS)
            }
        };
        match received {
            // A peer that is gone has data or an end for us: this one only does not listen.
            Ok(Arrived::WouldBlock) if process.send_closed => self.begin_leaving(now, false),
            Ok(received) => {
                // A blocking receive that brought something has shown life enough.
                let is_busy = wait == Wait::Slice && received != Arrived::WouldBlock;
                let is_idle = received == Arrived::WouldBlock && sent == 0;
                if is_idle || (!is_busy && now.since(process.looked) >= LOOK) {
                    process.looked = now;
                    if process.child.try_wait().is_some() {
                        self.begin_leaving(now, false);
                    }
                }
            }
            // Replies were all received before this; an error says as much as an end.
            Err(_) => self.begin_leaving(now, true),
        }
    }

    /// Sends what is queued, unless a start is still to be told: calls made upon that go first.
    fn send(&mut self, now: Instant) -> usize {
        let Phase::Serving(process) = &mut self.phase else {
            return 0;
        };
        let held_back = self.news.started.is_some() || now < process.send_after;
        if held_back || process.send_closed || process.broken {
            return 0;
        }
        let mut sent = 0;
        // Also what was waiting for room may have been taken back meanwhile.
        let mut watches_room = false;
        match self.caller.outbox.flush_with(&mut process.stream) {
            Ok(flushed) => {
                sent = flushed.len;
                watches_room = !flushed.complete;
            }
            Err(error) if passes(&error) => process.send_after = now + SOON,
            // Replies that the worker has written are still taken.
            Err(_) => process.send_closed = true,
        }
        if watches_room != process.watches_room {
            process.watches_room = watches_room;
            let (epoll, stream) = (self.epoll.as_fd(), process.stream.as_fd());
            process.broken |= watch_room(epoll, stream, watches_room).is_err();
        }
        sent
    }
}

/// Whether the same call may do a little later.
fn passes(error: &TransportError) -> bool {
    match error {
        TransportError::TooManyInFlight => true,
        TransportError::System(error) => {
            [Errno::NOBUFS, Errno::NOMEM].map(Into::into).contains(&error.errno)
        }
        _ => false,
    }
}
