//! Making calls: accepted at once or not at all, or with a wait until a deadline.

use ipc_frame::Kind;
use ipc_transport::Instant;

use super::Worker;
use crate::blocks::Lend;
use crate::call::{Call, NotTaken, Why};
use crate::event::Event;
use crate::ledger::RequestId;
use crate::process::{Launch, Main};

impl<Tag, L: Launch, const SLOTS: usize, const BYTES: usize> Worker<Tag, L, SLOTS, BYTES> {
    /// Returns whether a request of up to a quarter of `BYTES`, without descriptors, would be
    /// accepted now. See [`has_room_for`](Self::has_room_for) for others.
    ///
    /// Room is freed in the order of the requests. A long-running request also holds the room of
    /// those after it, even if they are cancelled.
    pub fn has_room(&self) -> bool {
        self.has_room_for(BYTES / 4, 0)
    }

    /// Returns whether there is room for a request of `len` bytes and `fd_count` descriptors. Room
    /// is freed by events, and by one-way requests that are done. The latter cause no event. So
    /// after a lack of room, [`next_deadline`](Self::next_deadline) is in the past until the next
    /// turn.
    ///
    /// True if no worker is left: calls then fail at once with [`Why::Stopped`].
    pub fn has_room_for(&self, len: usize, fd_count: usize) -> bool {
        !self.is_running() || self.main.caller.has_room_for(len, fd_count)
    }

    /// Records that the program was told that there is no room.
    pub(crate) fn lacks_room(&self) {
        self.main.caller.lacks_room();
    }

    /// Returns whether such a request would be accepted now. Does not record that it would not.
    pub(crate) fn takes(&self, len: usize, fd_count: usize, needs_block: bool) -> bool {
        let Main { launch, caller, .. } = &self.main;
        let holds = |id| caller.table.holds(id);
        let block = launch.blocks().find(needs_block.then_some(&[]), &holds);
        !self.is_running() || caller.fits(len, fd_count) && block.is_ok()
    }

    /// Returns whether a [block](Call::block) is free, if the worker has blocks. The room for the
    /// rest of the request is counted by [`has_room`](Self::has_room).
    ///
    /// A handler may still use the block of a request that was given up. Such a block comes back
    /// without an event. So after a lack of blocks, [`next_deadline`](Self::next_deadline) is in
    /// the past until the next turn. True if no worker is left: calls then fail at once with
    /// [`Why::Stopped`].
    pub fn has_block(&self) -> bool {
        if !self.is_running() {
            return true;
        }
        let Main { launch, caller, .. } = &self.main;
        let found = launch.blocks().find(Some(&[]), &|id| caller.table.holds(id));
        found.inspect_err(|_| caller.lacks_room()).is_ok()
    }

    /// Accepts a request at once or not at all. The request is copied and queued; the next
    /// [`turn`](Self::turn) sends it. Makes no system call except one per descriptor.
    ///
    /// # Errors
    /// The request was not accepted. The error returns the tag and the reason.
    pub fn try_call(&mut self, call: Call<'_>, tag: Tag) -> Result<RequestId, NotTaken<Tag>> {
        self.submit_until(call, tag, Instant::PAST, |_| ())
    }

    /// Accepts a request as [`try_call`](Self::try_call) does, and sends it before all queued
    /// requests, provided nothing was sent to the current worker yet. Use it to tell a new worker
    /// what it must know first: call it on [`Event::Started`], before the next [`turn`](Self::turn)
    /// and before other calls. If the worker ends, the request loses its place. With
    /// [`Again::Never`](crate::Again::Never) later workers do not get what was put first.
    ///
    /// # Errors
    /// As [`try_call`](Self::try_call): also [`Why::Full`] if the resent requests use all slots or
    /// bytes. What each worker must have belongs in [`prepare`](crate::Handler::prepare); otherwise
    /// always keep one slot and its bytes free.
    pub fn call_first(&mut self, call: Call<'_>, tag: Tag) -> Result<RequestId, NotTaken<Tag>> {
        let id = self.try_call(call, tag)?;
        self.main.caller.send_first(id);
        Ok(id)
    }

    /// Accepts a one-way request at once or not at all, as [`try_call`](Self::try_call) does. It
    /// has no outcome and needs no answer. [`counters`](Self::counters) counts one-way requests
    /// that were refused, lost or expired.
    ///
    /// It keeps its place among the other requests, and [`Again`](crate::Again) applies to it too.
    /// At its deadline it is withdrawn: if its handler has not begun, it never will. It cannot be
    /// cancelled.
    ///
    /// # Errors
    /// The request was not accepted.
    pub fn try_send(&mut self, call: Call<'_>) -> Result<(), NotTaken<()>> {
        self.send_until(call, Instant::PAST, |_| ())
    }

    /// Makes a call and waits for its outcome. The closure gets the outcome and all other events
    /// that arrive. At the deadline, or at the call's deadline if that is earlier, the outcome is
    /// [`DeadlinePassed`](crate::Outcome::DeadlinePassed). If there is no room, it waits for room
    /// first.
    ///
    /// # Errors
    /// The request was not accepted, perhaps because there was no room until the deadline.
    pub fn call_until(
        &mut self,
        call: Call<'_>,
        tag: Tag,
        deadline: Instant,
        mut on_event: impl FnMut(Event<'_, Tag>),
    ) -> Result<(), NotTaken<Tag>> {
        let deadline = call.deadline.map_or(deadline, |own| own.min(deadline));
        let call = call.deadline(deadline);
        let id = self.submit_until(call, tag, deadline, &mut on_event)?;
        while self.main.caller.table.holds(id) {
            self.go_on(deadline, &mut on_event);
        }
        Ok(())
    }

    /// Accepts a request as [`try_call`](Self::try_call) does, and waits for room if necessary.
    /// Does not wait for the outcome. The closure gets the events that arrive.
    ///
    /// # Errors
    /// The request was not accepted, perhaps because there was no room until the deadline.
    pub fn submit_until(
        &mut self,
        call: Call<'_>,
        tag: Tag,
        deadline: Instant,
        on_event: impl FnMut(Event<'_, Tag>),
    ) -> Result<RequestId, NotTaken<Tag>> {
        match self.take_until(&call, Kind::Request, deadline, on_event) {
            Ok(id) => {
                self.main.caller.table.tag(id, tag);
                Ok(id)
            }
            Err(why) => Err(NotTaken { tag, why }),
        }
    }

    /// Accepts a one-way request as [`try_send`](Self::try_send) does, and waits for room if
    /// necessary. The closure gets the events that arrive.
    ///
    /// # Errors
    /// The request was not accepted, perhaps because there was no room until the deadline.
    pub fn send_until(
        &mut self,
        call: Call<'_>,
        deadline: Instant,
        on_event: impl FnMut(Event<'_, Tag>),
    ) -> Result<(), NotTaken<()>> {
        let taken = self.take_until(&call, Kind::OneWay, deadline, on_event);
        taken.map(|_| ()).map_err(|why| NotTaken { tag: (), why })
    }

    /// Cancels a request. If its handler has not begun, it never will; a running handler can check
    /// [`is_cancelled`](crate::Request::is_cancelled). The outcome arrives as an event.
    ///
    /// Returns false if the request already has its outcome.
    pub fn cancel(&mut self, id: RequestId) -> bool {
        self.main.caller.cancel(id, self.main.life.words())
    }

    /// Accepts a request. The caller adds the tag, if it has one.
    fn take_until(
        &mut self,
        call: &Call<'_>,
        kind: Kind,
        deadline: Instant,
        mut on_event: impl FnMut(Event<'_, Tag>),
    ) -> Result<RequestId, Why> {
        loop {
            let taken = match self.is_running() {
                true => self.take(call, kind),
                false => Err(Why::Stopped),
            };
            if taken != Err(Why::Full) || Instant::now() >= deadline {
                return taken.inspect_err(|&why| self.main.caller.last.counters.not_taken(why));
            }
            self.go_on(deadline, &mut on_event);
        }
    }

    fn take(&mut self, call: &Call<'_>, kind: Kind) -> Result<RequestId, Why> {
        let Main { launch, life, caller, .. } = &mut self.main;
        let block = launch.blocks().find(call.block, &|id| caller.table.holds(id));
        let block = block.inspect_err(|_| caller.lacks_room())?;
        let id = caller.take(call, kind, life.words())?;
        if let Some(request) = caller.table.get(id) {
            launch.blocks_mut().lend(block, call.block, &request);
        }
        Ok(id)
    }
}
