//! Making calls: taken at once or not at all, or waited for to a deadline.

use ipc_frame::Kind;
use ipc_transport::Instant;

use super::Worker;
use crate::blocks::Lend;
use crate::call::{Call, NotTaken, Why};
use crate::event::Event;
use crate::ledger::RequestId;
use crate::process::{Launch, Main};

impl<Tag, L: Launch, const SLOTS: usize, const BYTES: usize> Worker<Tag, L, SLOTS, BYTES> {
    /// Returns whether a request of up to a quarter of `BYTES` without descriptors would be
    /// taken now. See [`has_room_for`](Self::has_room_for) for others.
    ///
    /// Room comes back in the order of the requests: one that runs long keeps the places of those
    /// after it, even if they are cancelled.
    pub fn has_room(&self) -> bool {
        self.has_room_for(BYTES / 4, 0)
    }

    /// Returns whether a request of `len` bytes and `fd_count` descriptors would find room now.
    /// There is room again after events, and after one-way requests are done: these tell no event,
    /// but once room was lacking, [`next_deadline`](Self::next_deadline) is then in the past until
    /// the next turn.
    ///
    /// Once no worker is left this is true: calls are then answered at once, with
    /// [`Why::Stopped`].
    pub fn has_room_for(&self, len: usize, fd_count: usize) -> bool {
        !self.is_running() || self.main.caller.has_room_for(len, fd_count)
    }

    /// Takes a request in, at once: it is copied and queued, and sent by the next
    /// [`turn`](Self::turn). No system call is made but one per descriptor.
    ///
    /// # Errors
    /// Not taken, and nothing half done: the tag is given back with the reason.
    pub fn try_call(&mut self, call: Call<'_>, tag: Tag) -> Result<RequestId, NotTaken<Tag>> {
        self.submit_until(call, tag, Instant::PAST, |_| ())
    }

    /// Takes a request in as [`try_call`](Self::try_call) does, and sends it before all that wait to
    /// be sent, if nothing was sent to the present worker yet: for what a new worker must know
    /// first. Call it upon [`Event::Started`], before the next [`turn`](Self::turn) and before other
    /// calls. With [`Again::Never`](crate::Again::Never) it is not sent to a later worker too.
    ///
    /// # Errors
    /// As [`try_call`](Self::try_call).
    pub fn call_first(&mut self, call: Call<'_>, tag: Tag) -> Result<RequestId, NotTaken<Tag>> {
        let id = self.try_call(call, tag)?;
        self.main.caller.send_first(id);
        Ok(id)
    }

    /// Takes a one-way request in, at once, as [`try_call`](Self::try_call) does. It has no
    /// outcome and costs no answer; only [`counters`](Self::counters) tells of one that the
    /// handler has refused, that was lost, or whose deadline has passed.
    ///
    /// It keeps its place among the other requests, and [`Again`](crate::Again) applies to it as
    /// to them. At its deadline it is taken back: if the handler had not begun it never will. It
    /// cannot be cancelled.
    ///
    /// # Errors
    /// Not taken, and nothing half done.
    pub fn try_send(&mut self, call: Call<'_>) -> Result<(), NotTaken<()>> {
        self.send_until(call, Instant::PAST, |_| ())
    }

    /// Makes a call and waits until it has its outcome, which the closure is given like all
    /// events that come meanwhile. At the deadline, or at the call's own if that is earlier, the
    /// outcome is [`DeadlinePassed`](crate::Outcome::DeadlinePassed).
    ///
    /// While room is lacking it waits for that too.
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
        let deadline = call.deadline.map_or(deadline, |own| own.min(deadline));
        let call = call.deadline(deadline);
        let id = self.submit_until(call, tag, deadline, &mut on_event)?;
        while self.main.caller.table.holds(id) {
            self.go_on(deadline, &mut on_event);
        }
        Ok(())
    }

    /// Takes a request in as [`try_call`](Self::try_call) does, and while room is lacking waits
    /// for that. It does not wait for the outcome. The closure is given the events that come
    /// meanwhile.
    ///
    /// # Errors
    /// Not taken, also if there was no room until the deadline.
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

    /// Takes a one-way request in as [`try_send`](Self::try_send) does, and while there is no
    /// room waits for that. The closure is given the events that come meanwhile.
    ///
    /// # Errors
    /// Not taken, also if there was no room until the deadline.
    pub fn send_until(
        &mut self,
        call: Call<'_>,
        deadline: Instant,
        on_event: impl FnMut(Event<'_, Tag>),
    ) -> Result<(), NotTaken<()>> {
        let taken = self.take_until(&call, Kind::OneWay, deadline, on_event);
        taken.map(|_| ()).map_err(|why| NotTaken { tag: (), why })
    }

    /// Gives a request up. If the handler had not begun it never will; one that runs can ask
    /// [`is_cancelled`](crate::Request::is_cancelled). The outcome is told as an event.
    ///
    /// Returns false where the request has its outcome already.
    pub fn cancel(&mut self, id: RequestId) -> bool {
        self.main.caller.cancel(id, self.main.life.words())
    }

    /// Takes a request in, whose tag is still to be added, if it has one.
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
        let frame = caller.table.get(id).map(|request| request.frame);
        launch.blocks_mut().lend(block, call.block, id, frame);
        Ok(id)
    }
}
