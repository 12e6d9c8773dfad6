//! Making calls: taken at once or not at all, or waited for to a deadline.

use heapless::Vec;
use ipc_frame::{Encode, Header, Kind, MAX_FDS};
use ipc_transport::{Instant, Interest, Watched, duplicate, wait};
use rustix::fd::{AsFd, OwnedFd};

use crate::call::{Call, NotTaken, Why};
use crate::event::Event;
use crate::handler::Handler;
use crate::slots::RequestId;
use crate::table::{Ending, UnderWay};
use crate::worker::Worker;
use crate::worker::exchange::{SLICE, Wait};

const FDS: usize = MAX_FDS as usize;

impl<Tag, H: Handler, const SLOTS: usize, const BYTES: usize> Worker<Tag, H, SLOTS, BYTES> {
    /// Returns whether a request of up to a quarter of `BYTES` without descriptors would be
    /// taken now. See [`has_room_for`](Self::has_room_for) for others.
    ///
    /// Room comes back in the order of the requests: one that runs long keeps the places of those
    /// after it, also when they are cancelled.
    pub fn has_room(&self) -> bool {
        self.has_room_for(BYTES / 4, 0)
    }

    /// Returns whether a request of `len` bytes and so many descriptors would be taken now, but
    /// for a lack of descriptors in the process.
    pub fn has_room_for(&self, len: usize, fd_count: usize) -> bool {
        self.takes_requests()
            && self.table.next_id().is_some()
            && self.outbox.has_room_for(len, fd_count)
    }

    /// Takes a request in, at once: it is copied and queued, and sent by the next
    /// [`turn`](Self::turn). No system call is made but one per descriptor.
    ///
    /// # Errors
    /// Not taken, and nothing half done: the tag is given back with the reason.
    pub fn try_call(&mut self, call: Call<'_>, tag: Tag) -> Result<RequestId, NotTaken<Tag>> {
        match self.take_in(&call) {
            Ok((id, under_way)) => {
                self.table.insert(id, tag, under_way);
                if let Some(slots) = self.phase.slots() {
                    slots.queue(id);
                }
                Ok(id)
            }
            Err(why) => Err(NotTaken { tag, why }),
        }
    }

    /// Makes a call and waits until it has its outcome, which the closure is given like all
    /// events that come meanwhile. At the deadline the outcome is
    /// [`DeadlinePassed`](crate::Outcome::DeadlinePassed).
    ///
    /// While there is no room it waits for that too.
    ///
    /// # Errors
    /// Not taken, also if there was no room until the deadline.
    pub fn call_until(
        &mut self,
        call: Call<'_>,
        tag: Tag,
        deadline: Instant,
        mut on_event: impl FnMut(Event<'_, Tag>),
    ) -> Result<(), NotTaken<Tag>> {
        let call = Call {
            deadline: Some(call.deadline.map_or(deadline, |own| own.min(deadline))),
            ..call
        };
        let mut tag = tag;
        let id = loop {
            match self.try_call(call, tag) {
                Ok(id) => break id,
                Err(not_taken) if not_taken.why == Why::Full && Instant::now() < deadline => {
                    tag = not_taken.tag;
                    self.wait_turn(deadline);
                    self.tell_all(None, &mut on_event);
                }
                Err(not_taken) => return Err(not_taken),
            }
        };
        while !self.tell_all(Some(id), &mut on_event) {
            self.wait_turn(deadline);
        }
        Ok(())
    }

    /// Gives a request up. If the handler had not begun it never will; one that runs can ask
    /// [`is_cancelled`](crate::Request::is_cancelled). The outcome is told as an event.
    ///
    /// Answers false where the request has its outcome already.
    pub fn cancel(&mut self, id: RequestId) -> bool {
        let under_way = self.table.get(id);
        if let Some(under_way) = under_way {
            self.end(id, under_way.frame, Ending::Cancelled);
        }
        under_way.is_some()
    }

    /// Gives the closure all events there are. Answers whether one was the outcome of `awaited`.
    pub(super) fn tell_all(
        &mut self,
        awaited: Option<RequestId>,
        on_event: &mut impl FnMut(Event<'_, Tag>),
    ) -> bool {
        let mut told = false;
        while let Some(event) = self.next_event() {
            on_event(event);
            told |= self.told.is_some() && self.told == awaited;
        }
        told
    }

    /// Waits until there is something to do, the deadline at the latest, and does it.
    pub(super) fn wait_turn(&mut self, deadline: Instant) {
        let now = Instant::now();
        let wake = self.next_deadline().map_or(deadline, |next| next.min(deadline));
        // One blocking call in the place of a poll and a call, where its time-out fits.
        if self.can_block() && wake.since(now) > SLICE + SLICE {
            self.expire(now);
            self.exchange(now, Wait::Slice);
            return;
        }
        if wake > now {
            // Should the wait fail, the turn is early, which harms nothing.
            _ = wait(&mut [Watched::new(self.epoll.as_fd(), Interest::Input)], Some(wake));
        }
        self.turn(Instant::now());
    }

    fn take_in(&mut self, call: &Call<'_>) -> Result<(RequestId, UnderWay), Why> {
        let len = call.body.encoded_len()?;
        let (fd_count, capacity) = (call.fds.len(), Self::REQUEST_CAPACITY);
        if !self.takes_requests() {
            return Err(Why::Stopped);
        } else if len > capacity {
            return Err(Why::TooLong { len, capacity });
        } else if fd_count > FDS {
            return Err(Why::TooManyFds { count: fd_count, capacity: FDS });
        } else if !self.outbox.has_room_for(len, fd_count) {
            return Err(Why::Full);
        }
        let id = self.table.next_id().ok_or(Why::Full)?;
        let mut fds = Vec::<OwnedFd, FDS>::new();
        for &fd in call.fds {
            // Their number is checked above.
            _ = fds.push(duplicate(fd).map_err(Why::NoFdLeft)?);
        }
        let header = Header::new(Kind::Request, call.method, id.to_wire());
        let mut room = self.outbox.reserve(len, fd_count).map_err(|_| Why::Full)?;
        // One that is longer now than it has said does not know its own length.
        let len = call.body.encode(room.payload()).map_err(|_| Why::Unencodable)?;
        let under_way = UnderWay {
            frame: room.commit(header, len, &mut fds),
            deadline: call.deadline.unwrap_or(Instant::NEVER),
            again: call.again,
            begun: 0,
        };
        Ok((id, under_way))
    }

    const fn takes_requests(&self) -> bool {
        !self.stopping && self.is_running()
    }
}
