//! The room of one-way requests: no answer gives it back, so that main looks for it in the page.

use core::sync::atomic::Ordering;

use heapless::Vec;
use ipc_frame::FrameNumber;

use crate::caller::Caller;
use crate::counters::add;
use crate::slots::{Finish, RequestId, Slots};

impl<Tag, const SLOTS: usize, const BYTES: usize> Caller<Tag, SLOTS, BYTES> {
    /// Asks the worker to tell when one-way requests are done, if any are under way.
    pub(crate) fn ask(&self, slots: Option<&Slots>) {
        if self.table.one_ways() == 0 {
            return;
        }
        self.lacks_room.store(true, Ordering::Relaxed);
        if let Some(slots) = slots {
            slots.ask();
        }
    }

    /// Ends a one-way request that the handler has finished with.
    pub(crate) fn let_go(&mut self, id: RequestId, frame: FrameNumber, finish: Finish) {
        add(&mut self.counters.one_ways_refused, u64::from(finish == Finish::Refused));
        self.free(id, frame);
    }

    /// Gives the room of a one-way request back.
    pub(super) fn free(&mut self, id: RequestId, frame: FrameNumber) {
        self.outbox.retire(frame);
        self.table.finish(id);
        self.regained |= core::mem::take(self.lacks_room.get_mut());
    }

    /// Begins a turn: what room came back in the one before was seen.
    pub(crate) const fn begin_turn(&mut self) {
        self.regained = false;
    }

    /// Lets go of the one-way requests that the worker has finished with.
    pub(crate) fn reclaim(&mut self, slots: Option<&Slots>) {
        let Some(slots) = slots.filter(|_| self.table.one_ways() > 0) else {
            return;
        };
        let finished: Vec<_, SLOTS> = self.finished_one_ways(slots).collect();
        for (id, frame, finish) in finished {
            self.let_go(id, frame, finish);
        }
    }

    /// Returns whether room that the program lacked is back, or the worker has finished with
    /// one-way requests, maybe too early to see that it was asked to tell.
    pub(crate) fn has_regained(&self, slots: Option<&Slots>) -> bool {
        let asked = slots.filter(|slots| self.table.one_ways() > 0 && slots.is_asked());
        self.regained || asked.is_some_and(|slots| self.finished_one_ways(slots).next().is_some())
    }

    /// Returns the one-way requests that the worker has finished with: it takes all in their
    /// order, so that nothing is behind the first that it has not finished.
    fn finished_one_ways(
        &self,
        slots: &Slots,
    ) -> impl Iterator<Item = (RequestId, FrameNumber, Finish)> {
        self.sent()
            .map_while(|(id, under_way)| Some((id, under_way, slots.finished(id)?)))
            .filter(|(_, under_way, _)| under_way.is_one_way)
            .map(|(id, under_way, finish)| (id, under_way.frame, finish))
    }

    /// Lets go of the one-way requests that were run in line and are settled.
    pub(crate) fn let_go_sent(&mut self) {
        let one_ways = self.sent().filter(|(_, under_way)| under_way.is_one_way);
        let one_ways: Vec<_, SLOTS> = one_ways.collect();
        for (id, under_way) in one_ways {
            self.let_go(id, under_way.frame, Finish::Done);
        }
    }
}
