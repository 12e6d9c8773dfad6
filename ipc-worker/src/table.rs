//! Main's requests under way: a fixed table of slots with generations. No input or output.

use heapless::{Deque, Vec};
use ipc_frame::FrameNumber;
use ipc_transport::Instant;

use crate::call::Again;
use crate::event::Lost;
use crate::slots::RequestId;

/// An outcome that main itself came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Lost(Lost),
    DeadlinePassed,
    Cancelled,
}

/// What is known of a request under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnderWay {
    /// Where its bytes wait until the outcome.
    pub(crate) frame: FrameNumber,
    pub(crate) deadline: Instant,
    pub(crate) again: Again,
    /// How often it began in a worker that was lost.
    pub(crate) begun: u8,
    /// It has no outcome.
    pub(crate) is_one_way: bool,
}

#[derive(Debug)]
enum State {
    Free,
    UnderWay(UnderWay),
    /// Its outcome waits to be told.
    Ended,
}

#[derive(Debug)]
struct Slot<Tag> {
    generation: u32,
    state: State,
    tag: Option<Tag>,
}

/// Requests that were taken and whose outcome was not yet told.
#[derive(Debug)]
pub(crate) struct Table<Tag, const SLOTS: usize> {
    slots: [Slot<Tag>; SLOTS],
    free: Vec<u16, SLOTS>,
    ended: Deque<(RequestId, Ending), SLOTS>,
    under_way: usize,
    /// How many of those are one-way.
    one_ways: usize,
    /// No deadline comes before this; there may be none at it either.
    earliest: Instant,
}

impl<Tag, const SLOTS: usize> Table<Tag, SLOTS> {
    pub(crate) fn new() -> Self {
        const { assert!(SLOTS > 0 && SLOTS <= 0xffff, "1 to 65,535 slots") };
        // The last one is taken first, so that slots are used from zero on.
        let free = (0..SLOTS).rev().filter_map(|slot| u16::try_from(slot).ok()).collect();
        let slot = |_| Slot { generation: 0, state: State::Free, tag: None };
        Self {
            slots: core::array::from_fn(slot),
            free,
            ended: Deque::new(),
            under_way: 0,
            one_ways: 0,
            earliest: Instant::NEVER,
        }
    }

    /// Returns the id that the next request would have; `None` where all slots are in use.
    pub(crate) fn next_id(&self) -> Option<RequestId> {
        let slot = *self.free.last()?;
        let generation = self.slots.get(usize::from(slot))?.generation;
        Some(RequestId { slot, generation })
    }

    /// Takes in the request whose id [`next_id`](Self::next_id) gave. A one-way has no tag.
    pub(crate) fn insert(&mut self, id: RequestId, tag: Option<Tag>, under_way: UnderWay) {
        self.free.pop();
        if let Some(slot) = self.slots.get_mut(usize::from(id.slot)) {
            *slot = Slot { generation: id.generation, state: State::UnderWay(under_way), tag };
            self.under_way += 1;
            self.one_ways += usize::from(under_way.is_one_way);
            self.earliest = self.earliest.min(under_way.deadline);
        }
    }

    /// Returns what is known of a request, if it is under way: a late or forged id has nothing.
    pub(crate) fn get(&self, id: RequestId) -> Option<UnderWay> {
        match self.slots.get(usize::from(id.slot))? {
            Slot { generation, state: State::UnderWay(under_way), .. }
                if *generation == id.generation =>
            {
                Some(*under_way)
            }
            _ => None,
        }
    }

    /// Ends a request whose outcome is told now, and gives its tag; or a one-way, which has none.
    pub(crate) fn finish(&mut self, id: RequestId) -> Option<Tag> {
        let under_way = self.get(id)?;
        self.under_way -= 1;
        self.one_ways -= usize::from(under_way.is_one_way);
        self.release(id)
    }

    /// Ends a request whose outcome is told by [`next_ended`](Self::next_ended).
    pub(crate) fn end(&mut self, id: RequestId, ending: Ending) {
        if self.get(id).is_none() {
            return;
        }
        if let Some(slot) = self.slots.get_mut(usize::from(id.slot)) {
            slot.state = State::Ended;
            self.under_way -= 1;
            // Each slot is in the list at most once.
            _ = self.ended.push_back((id, ending));
        }
    }

    /// Counts that a request began in a worker that was lost with it.
    pub(crate) fn count_begun(&mut self, id: RequestId) {
        if let Some(Slot { state: State::UnderWay(under_way), .. }) =
            self.slots.get_mut(usize::from(id.slot))
        {
            under_way.begun = under_way.begun.saturating_add(1);
        }
    }

    /// Gives the next outcome that main came to, in the order in which it did.
    pub(crate) fn next_ended(&mut self) -> Option<(RequestId, Tag, Ending)> {
        let (id, ending) = self.ended.pop_front()?;
        Some((id, self.release(id)?, ending))
    }

    /// Returns a request whose deadline has passed.
    pub(crate) fn next_expired(&mut self, now: Instant) -> Option<(RequestId, UnderWay)> {
        if self.earliest > now {
            return None;
        }
        let mut earliest = Instant::NEVER;
        for (slot, entry) in (0_u16..).zip(&self.slots) {
            if let State::UnderWay(under_way) = entry.state {
                if under_way.deadline <= now {
                    return Some((RequestId { slot, generation: entry.generation }, under_way));
                }
                earliest = earliest.min(under_way.deadline);
            }
        }
        self.earliest = earliest;
        None
    }

    /// Returns a time before which no deadline passes.
    pub(crate) const fn earliest(&self) -> Instant {
        self.earliest
    }

    /// Returns how many requests are under way, the one-way ones included.
    pub(crate) const fn under_way(&self) -> usize {
        self.under_way
    }

    /// Returns how many one-way requests are under way.
    pub(crate) const fn one_ways(&self) -> usize {
        self.one_ways
    }

    /// Returns whether an outcome waits to be told.
    pub(crate) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    fn release(&mut self, id: RequestId) -> Option<Tag> {
        let slot = self.slots.get_mut(usize::from(id.slot))?;
        slot.state = State::Free;
        slot.generation = (id.generation + 1) % RequestId::GENERATIONS;
        _ = self.free.push(id.slot);
        slot.tag.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipc_frame::{Header, Queue};

    fn insert<const SLOTS: usize>(
        table: &mut Table<u32, SLOTS>,
        queue: &mut Queue<4096, 64>,
        tag: u32,
        deadline: Instant,
    ) -> Option<RequestId> {
        let id = table.next_id()?;
        let frame = queue.push(Header::request(1, id.to_wire()), &[]).unwrap();
        let (again, begun, is_one_way) = (Again::IfNotBegun, 0, false);
        table.insert(id, Some(tag), UnderWay { frame, deadline, again, begun, is_one_way });
        Some(id)
    }

    #[test]
    fn a_late_or_forged_id_finds_nothing() {
        let (mut table, mut queue) = (Table::<u32, 2>::new(), Queue::new());
        let id = insert(&mut table, &mut queue, 7, Instant::NEVER).unwrap();
        assert_eq!(table.finish(RequestId { generation: 1, ..id }), None);
        assert_eq!(table.finish(RequestId { slot: 900, ..id }), None);
        assert_eq!(table.finish(id), Some(7));
        assert_eq!(table.finish(id), None, "finished once");
        let next = insert(&mut table, &mut queue, 8, Instant::NEVER).unwrap();
        assert_eq!((next.slot, next.generation), (id.slot, id.generation + 1));
        assert_eq!(table.finish(id), None, "the slot's new request is another one");
    }

    #[test]
    fn deadlines_pass_once_and_endings_keep_their_order() {
        let (mut table, mut queue) = (Table::<u32, 4>::new(), Queue::new());
        let at = Instant::from_nanoseconds;
        insert(&mut table, &mut queue, 1, at(30));
        let second = insert(&mut table, &mut queue, 2, at(10)).unwrap();
        insert(&mut table, &mut queue, 3, Instant::NEVER);
        assert_eq!(table.earliest(), at(10));
        assert!(table.next_expired(at(9)).is_none());
        let (expired, _) = table.next_expired(at(10)).unwrap();
        assert_eq!(expired, second);
        table.end(expired, Ending::DeadlinePassed);
        assert!(table.next_expired(at(10)).is_none());
        assert_eq!(table.earliest(), at(30));
        assert_eq!(table.under_way(), 2);
        assert_eq!(table.next_ended(), Some((second, 2, Ending::DeadlinePassed)));
        assert_eq!(table.next_ended(), None);
    }

    #[test]
    fn a_slot_whose_ending_is_not_told_stays_in_use() {
        let (mut table, mut queue) = (Table::<u32, 1>::new(), Queue::new());
        let id = insert(&mut table, &mut queue, 1, Instant::NEVER).unwrap();
        table.end(id, Ending::Cancelled);
        assert!(table.next_id().is_none());
        table.next_ended();
        assert!(table.next_id().is_some());
    }
}
