//! Main's requests under way: a fixed table of slots with generations.

mod place;

use ipc_frame::FrameNumber;

use super::fate::{Ending, UnderWay};
use super::id::RequestId;

#[derive(Debug)]
enum State {
    /// In the list of free slots.
    Free,
    UnderWay(UnderWay),
    /// In the list of outcomes that wait to be told.
    Ended(Ending, FrameNumber),
}

#[derive(Debug)]
struct Slot<Tag> {
    /// The generation of the request in it, or of the next one.
    generation: u32,
    /// The slot behind this one in its list; the last free one is followed by none that exists.
    next: u16,
    state: State,
    tag: Option<Tag>,
}

/// The end of a request, ready to be told.
#[derive(Debug)]
pub(crate) struct Told<Tag> {
    pub(crate) tag: Tag,
    pub(crate) ending: Ending,
    pub(crate) frame: FrameNumber,
}

/// Requests that were taken and whose outcome was not yet told.
#[derive(Debug)]
pub(crate) struct Table<Tag, const SLOTS: usize> {
    slots: [Slot<Tag>; SLOTS],
    summary: Summary,
}

/// All of a table but its slots.
#[derive(Clone, Copy, Debug, Default)]
struct Summary {
    /// The free slot that is used next.
    free: u16,
    /// The first and the last slot whose outcome waits to be told.
    ended: Option<(u16, u16)>,
    /// Slots that are not free, and how many of them hold a one-way request.
    in_use: usize,
    one_ways: usize,
    /// Requests whose replies may bring descriptors, and the most that one of them may.
    with_reply_fds: usize,
    reply_fds: u16,
}

impl<Tag, const SLOTS: usize> Table<Tag, SLOTS> {
    /// Returns the id that the next request would have; `None` where all slots are in use.
    pub(crate) fn next_id(&self) -> Option<RequestId> {
        let slot = self.summary.free;
        let generation = self.slots.get(usize::from(slot))?.generation;
        Some(RequestId { slot, generation })
    }

    /// Takes in the request whose id [`next_id`](Self::next_id) gave.
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

    /// Adds the tag of a request that has an outcome.
    pub(crate) fn tag(&mut self, id: RequestId, tag: Tag) {
        if let Some(slot) = self.slots.get_mut(usize::from(id.slot)) {
            slot.tag = Some(tag);
        }
    }

    /// Lends the tag of a request that has no outcome yet.
    pub(crate) fn tag_of(&self, id: RequestId) -> Option<&Tag> {
        self.get(id)?;
        self.slots.get(usize::from(id.slot))?.tag.as_ref()
    }

    /// Returns what is known of a request under way. A late or forged id finds nothing.
    pub(crate) fn get(&self, id: RequestId) -> Option<UnderWay> {
        let slot = self.slots.get(usize::from(id.slot))?;
        match slot.state {
            State::UnderWay(request) if request.id == id => Some(request),
            _ => None,
        }
    }

    /// Returns whether a request was taken whose outcome was not told yet.
    pub(crate) fn holds(&self, id: RequestId) -> bool {
        let slot = self.slots.get(usize::from(id.slot));
        slot.is_some_and(|slot| slot.generation == id.generation)
    }

    /// Lends the entry of a request that was found under way. Whether it is one-way and what its
    /// reply may bring are not to be changed.
    pub(crate) fn entry(&mut self, request: &UnderWay) -> Option<&mut UnderWay> {
        match &mut self.slots.get_mut(usize::from(request.id.slot))?.state {
            State::UnderWay(entry) => Some(entry),
            _ => None,
        }
    }

    /// Ends a request whose outcome is told now, and gives its tag; or a one-way, which has none.
    #[inline]
    pub(crate) fn finish(&mut self, request: &UnderWay) -> Option<Tag> {
        self.leave(request);
        self.release(request.id.slot)
    }

    /// Ends a request whose outcome is told by [`next_ended`](Self::next_ended).
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

    /// Gives the next outcome that main came to, in the order in which it did.
    pub(crate) fn next_ended(&mut self) -> Option<Told<Tag>> {
        let (first, last) = self.summary.ended?;
        let slot = self.slots.get(usize::from(first))?;
        let State::Ended(ending, frame) = slot.state else {
            return None;
        };
        self.summary.ended = (first != last).then_some((slot.next, last));
        Some(Told { tag: self.release(first)?, ending, frame })
    }

    /// Returns how many requests were taken and not yet told or done, the one-way ones included.
    pub(crate) const fn in_use(&self) -> usize {
        self.summary.in_use
    }

    /// Returns how many one-way requests are under way.
    pub(crate) const fn one_ways(&self) -> usize {
        self.summary.one_ways
    }

    /// Returns whether outcomes wait to be told.
    pub(crate) const fn has_ended(&self) -> bool {
        self.summary.ended.is_some()
    }

    /// Returns the most descriptors that a reply to a request under way may bring.
    pub(crate) const fn reply_fds(&self) -> u16 {
        self.summary.reply_fds
    }

    /// Counts a request out that was under way.
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
    use crate::ledger::fate::{Again, How};

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
            let request = UnderWay {
                id,
                frame,
                deadline,
                again: Again::IfNotBegun,
                tries: 3,
                time_limit: core::time::Duration::MAX,
                begun: 0,
                reached: How::NotBegun,
                reply_fds: u16::try_from(tag % 4).unwrap(),
                is_one_way: false,
                is_late: false,
                is_first: false,
            };
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
        assert_eq!(bench.finish(id), None, "the slot's new request is another one");
    }

    #[test]
    fn endings_keep_their_order() {
        let mut bench = Bench::<4>::new();
        let [first, second, _] = [1, 2, 3].map(|tag| bench.insert(tag, Instant::NEVER).unwrap());
        bench.end(second, Ending::DeadlinePassed);
        bench.end(first, Ending::Cancelled);
        assert_eq!((bench.table.under_way(), bench.table.ended()), (1, 2));
        assert_eq!(bench.told(), Some((2, Ending::DeadlinePassed)));
        assert_eq!(bench.told(), Some((1, Ending::Cancelled)));
        assert_eq!(bench.told(), None);
    }

    #[test]
    fn a_slot_whose_ending_is_not_told_stays_in_use() {
        let mut bench = Bench::<1>::new();
        let id = bench.insert(1, Instant::NEVER).unwrap();
        bench.end(id, Ending::Cancelled);
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
        bench.end(one, Ending::Cancelled);
        assert_eq!(bench.table.reply_fds(), 0, "no reply that is awaited brings any");
    }
}
