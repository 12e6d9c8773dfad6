//! Main's requests in flight: a fixed table of slots with generations.

mod place;

use ipc_frame::FrameNumber;

use super::fate::{Ending, UnderWay};
use super::id::RequestId;

#[derive(Debug)]
enum State {
    /// In the list of free slots.
    Free,
    UnderWay(UnderWay),
    /// In the list of outcomes that are not reported yet.
    Ended(Ending, FrameNumber),
}

#[derive(Debug)]
struct Slot<Tag> {
    /// The generation of its request, or of its next one if it is free.
    generation: u32,
    /// The next slot in its list. The last free slot has an index that does not exist.
    next: u16,
    state: State,
    tag: Option<Tag>,
}

/// The end of a request, ready to report.
#[derive(Debug)]
pub(crate) struct Told<Tag> {
    pub(crate) tag: Tag,
    pub(crate) ending: Ending,
    pub(crate) frame: FrameNumber,
}

/// Accepted requests whose outcome is not reported yet.
#[derive(Debug)]
pub(crate) struct Table<Tag, const SLOTS: usize> {
    slots: [Slot<Tag>; SLOTS],
    summary: Summary,
}

/// Everything in a table except its slots.
#[derive(Clone, Copy, Debug, Default)]
struct Summary {
    /// The next free slot.
    free: u16,
    /// The first and the last slot with an outcome to report.
    ended: Option<(u16, u16)>,
    /// How many slots are not free, and how many of them hold a one-way request.
    in_use: usize,
    one_ways: usize,
    /// How many requests allow descriptors in their replies, and the most that one of them allows.
    with_reply_fds: usize,
    reply_fds: u16,
}

impl<Tag, const SLOTS: usize> Table<Tag, SLOTS> {
    /// Returns the id of the next request, or `None` if all slots are in use.
    pub(crate) fn next_id(&self) -> Option<RequestId> {
        let slot = self.summary.free;
        let generation = self.slots.get(usize::from(slot))?.generation;
        Some(RequestId { slot, generation })
    }

    /// Adds the request with the id from [`next_id`](Self::next_id).
    #[inline]
    pub(crate) fn insert(&mut self, request: UnderWay) {
        let Some(slot) = self.slots.get_mut(usize::from(request.id.slot)) else {
            return;
        };
        slot.state = State::UnderWay(request);
        let summary = &mut self.summary;
        summary.free = slot.next;
        summary.in_use += 1;
        summary.one_ways += usize::from(request.is_one_way);
        summary.with_reply_fds += usize::from(request.reply_fds > 0);
        summary.reply_fds = summary.reply_fds.max(request.reply_fds);
    }

    /// Adds the tag of a request that will have an outcome.
    pub(crate) fn tag(&mut self, id: RequestId, tag: Tag) {
        if let Some(slot) = self.slots.get_mut(usize::from(id.slot)) {
            slot.tag = Some(tag);
        }
    }

    /// Returns the tag of a request that has no outcome yet.
    pub(crate) fn tag_of(&self, id: RequestId) -> Option<&Tag> {
        self.get(id)?;
        self.slots.get(usize::from(id.slot))?.tag.as_ref()
    }

    /// Returns the state of a request in flight, or `None` if the id is late or forged.
    pub(crate) fn get(&self, id: RequestId) -> Option<UnderWay> {
        let slot = self.slots.get(usize::from(id.slot))?;
        match slot.state {
            State::UnderWay(request) if request.id == id => Some(request),
            _ => None,
        }
    }

    /// Returns whether a request was accepted whose outcome is not reported yet.
    pub(crate) fn holds(&self, id: RequestId) -> bool {
        let slot = self.slots.get(usize::from(id.slot));
        slot.is_some_and(|slot| slot.generation == id.generation)
    }

    /// Returns the entry of a request in flight. The caller must not change whether it is one-way,
    /// or the descriptors that its reply may carry.
    pub(crate) fn entry(&mut self, request: &UnderWay) -> Option<&mut UnderWay> {
        match &mut self.slots.get_mut(usize::from(request.id.slot))?.state {
            State::UnderWay(entry) => Some(entry),
            _ => None,
        }
    }

    /// Ends a request whose outcome is reported now, and returns its tag. A one-way has none.
    #[inline]
    pub(crate) fn finish(&mut self, request: &UnderWay) -> Option<Tag> {
        self.leave(request);
        self.release(request.id.slot)
    }

    /// Ends a request whose outcome [`next_ended`](Self::next_ended) will report.
    pub(crate) fn end(&mut self, request: &UnderWay, ending: Ending) {
        self.leave(request);
        let ended = request.id.slot;
        if let Some(slot) = self.slots.get_mut(usize::from(ended)) {
            slot.state = State::Ended(ending, request.frame);
        }
        let (first, last) = self.summary.ended.unwrap_or((ended, ended));
        if let Some(slot) = self.slots.get_mut(usize::from(last)) {
            slot.next = ended;
        }
        self.summary.ended = Some((first, ended));
    }

    /// Returns the next outcome that main decided, in order.
    pub(crate) fn next_ended(&mut self) -> Option<Told<Tag>> {
        let (first, last) = self.summary.ended?;
        let slot = self.slots.get(usize::from(first))?;
        let State::Ended(ending, frame) = slot.state else {
            return None;
        };
        self.summary.ended = (first != last).then_some((slot.next, last));
        Some(Told { tag: self.release(first)?, ending, frame })
    }

    /// Returns how many requests are in flight or not reported yet, including one-way requests.
    pub(crate) const fn in_use(&self) -> usize {
        self.summary.in_use
    }

    /// Returns how many one-way requests are in flight.
    pub(crate) const fn one_ways(&self) -> usize {
        self.summary.one_ways
    }

    /// Returns whether there are outcomes to report.
    pub(crate) const fn has_ended(&self) -> bool {
        self.summary.ended.is_some()
    }

    /// Returns the most descriptors that a reply to a request in flight may carry.
    pub(crate) const fn reply_fds(&self) -> u16 {
        self.summary.reply_fds
    }

    /// Removes a request from the counts.
    fn leave(&mut self, request: &UnderWay) {
        let summary = &mut self.summary;
        summary.one_ways -= usize::from(request.is_one_way);
        summary.with_reply_fds -= usize::from(request.reply_fds > 0);
        if summary.with_reply_fds == 0 {
            summary.reply_fds = 0;
        }
    }

    fn release(&mut self, number: u16) -> Option<Tag> {
        let slot = self.slots.get_mut(usize::from(number))?;
        slot.state = State::Free;
        slot.generation = (slot.generation + 1) % RequestId::GENERATIONS;
        slot.next = core::mem::replace(&mut self.summary.free, number);
        self.summary.in_use -= 1;
        slot.tag.take()
    }
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;

    use ipc_frame::{Header, Queue};
    use ipc_transport::Instant;

    use super::*;
    use crate::ledger::fate::How;

    struct Bench<const SLOTS: usize> {
        table: Box<Table<u32, SLOTS>>,
        queue: Queue<4096, 64>,
    }

    impl<const SLOTS: usize> Bench<SLOTS> {
        fn new() -> Self {
            Self { table: Table::boxed(), queue: Queue::new() }
        }

        fn insert(&mut self, tag: u32, deadline: Instant) -> Option<RequestId> {
            let id = self.table.next_id()?;
            let frame = self.queue.push(Header::request(1, id.to_wire()), &[]).unwrap();
            let reply_fds = u16::try_from(tag % 4).unwrap();
            let request = UnderWay { deadline, reply_fds, ..UnderWay::plain(id, frame) };
            self.table.insert(request);
            self.table.tag(id, tag);
            Some(id)
        }

        fn finish(&mut self, id: RequestId) -> Option<u32> {
            let request = self.table.get(id)?;
            self.table.finish(&request)
        }

        fn end(&mut self, id: RequestId, ending: Ending) {
            let request = self.table.get(id).unwrap();
            self.table.end(&request, ending);
        }

        fn told(&mut self) -> Option<(u32, Ending)> {
            self.table.next_ended().map(|told| (told.tag, told.ending))
        }
    }

    #[test]
    fn a_late_or_forged_id_finds_nothing() {
        let mut bench = Bench::<2>::new();
        let id = bench.insert(7, Instant::NEVER).unwrap();
        assert_eq!(bench.finish(RequestId { generation: 1, ..id }), None);
        assert_eq!(bench.finish(RequestId { slot: 900, ..id }), None);
        assert_eq!(bench.finish(id), Some(7));
        assert_eq!(bench.finish(id), None, "finished once");
        let next = bench.insert(8, Instant::NEVER).unwrap();
        assert_eq!((next.slot, next.generation), (id.slot, id.generation + 1));
        assert_eq!(bench.finish(id), None, "the slot has a new request");
    }

    #[test]
    fn endings_keep_their_order() {
        let mut bench = Bench::<4>::new();
        let [first, second, _] = [1, 2, 3].map(|tag| bench.insert(tag, Instant::NEVER).unwrap());
        bench.end(second, Ending::DeadlinePassed(How::Running));
        bench.end(first, Ending::Cancelled(How::NotBegun));
        assert_eq!((bench.table.under_way(), bench.table.ended()), (1, 2));
        assert_eq!(bench.told(), Some((2, Ending::DeadlinePassed(How::Running))));
        assert_eq!(bench.told(), Some((1, Ending::Cancelled(How::NotBegun))));
        assert_eq!(bench.told(), None);
    }

    #[test]
    fn a_slot_whose_ending_is_not_told_stays_in_use() {
        let mut bench = Bench::<1>::new();
        let id = bench.insert(1, Instant::NEVER).unwrap();
        bench.end(id, Ending::Cancelled(How::NotBegun));
        assert!(bench.table.next_id().is_none() && bench.table.holds(id));
        bench.told();
        assert!(bench.table.next_id().is_some() && !bench.table.holds(id));
    }

    #[test]
    fn the_allowance_is_the_largest_under_way() {
        let mut bench = Bench::<4>::new();
        assert_eq!(bench.table.reply_fds(), 0);
        let three = bench.insert(3, Instant::NEVER).unwrap();
        let one = bench.insert(1, Instant::NEVER).unwrap();
        assert_eq!(bench.table.reply_fds(), 3);
        bench.finish(three);
        bench.end(one, Ending::Cancelled(How::NotBegun));
        assert_eq!(bench.table.reply_fds(), 0, "no expected reply may carry any");
    }

    #[test]
    fn the_allowance_lasts_while_a_reply_may_bring_descriptors() {
        let mut bench = Bench::<4>::new();
        let [none, one, three] = [0, 1, 3].map(|tag| bench.insert(tag, Instant::NEVER).unwrap());
        bench.finish(three);
        assert_eq!(bench.table.reply_fds(), 3, "it is not lowered");
        bench.finish(one);
        assert_eq!(bench.table.reply_fds(), 0);
        bench.finish(none);
        assert_eq!(bench.table.reply_fds(), 0);
    }

    #[test]
    fn requests_are_counted_until_their_outcome_is_told() {
        let mut bench = Bench::<4>::new();
        assert_eq!((bench.table.in_use(), bench.table.has_ended()), (0, false));
        let [first, second] = [1, 2].map(|tag| bench.insert(tag, Instant::NEVER).unwrap());
        bench.end(first, Ending::Cancelled(How::NotBegun));
        assert_eq!((bench.table.in_use(), bench.table.has_ended()), (2, true));
        bench.told();
        assert_eq!((bench.table.in_use(), bench.table.has_ended()), (1, false));
        bench.finish(second);
        assert_eq!(bench.table.in_use(), 0);
    }
}
