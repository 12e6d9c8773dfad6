//! Main's requests under way: a fixed table of slots with generations.

mod place;

use ipc_frame::FrameNumber;
use ipc_transport::Instant;

use super::fate::{Ending, How, UnderWay};
use super::id::RequestId;

/// The end of a list of slots.
const NONE: u16 = u16::MAX;

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
    generation: u32,
    /// The slot behind this one in its list.
    next: u16,
    state: State,
    tag: Option<Tag>,
}

impl<Tag> Slot<Tag> {
    /// The slot at this place of a new table, where every slot is free.
    fn first(place: usize, count: usize) -> Self {
        let next = u16::try_from(place + 1).ok().filter(|&next| usize::from(next) < count);
        Self { generation: 0, next: next.unwrap_or(NONE), state: State::Free, tag: None }
    }
}

/// An outcome that main came to by itself, ready to be told.
#[derive(Debug)]
pub(crate) struct Told<Tag> {
    pub(crate) id: RequestId,
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
#[derive(Clone, Copy, Debug)]
struct Summary {
    /// The free slot that is used next.
    free: u16,
    /// The first and the last slot whose outcome waits to be told.
    ended: Option<(u16, u16)>,
    ended_count: usize,
    under_way: usize,
    /// How many of those are one-way.
    one_ways: usize,
    /// No deadline comes before this; there may be none at it either.
    earliest: Instant,
    /// Requests whose replies may bring descriptors, and the most that one of them may.
    with_reply_fds: usize,
    reply_fds: u16,
}

impl Summary {
    const EMPTY: Self = Self {
        free: 0,
        ended: None,
        ended_count: 0,
        under_way: 0,
        one_ways: 0,
        earliest: Instant::NEVER,
        with_reply_fds: 0,
        reply_fds: 0,
    };
}

impl<Tag, const SLOTS: usize> Table<Tag, SLOTS> {
    /// Returns the id that the next request would have; `None` where all slots are in use.
    pub(crate) fn next_id(&self) -> Option<RequestId> {
        let slot = self.summary.free;
        let generation = self.slots.get(usize::from(slot))?.generation;
        Some(RequestId { slot, generation })
    }

    /// Takes in the request whose id [`next_id`](Self::next_id) gave. A one-way has no tag.
    pub(crate) fn insert(&mut self, id: RequestId, tag: Option<Tag>, request: UnderWay) {
        let Some(slot) = self.slots.get_mut(usize::from(id.slot)) else {
            return;
        };
        slot.state = State::UnderWay(request);
        slot.tag = tag;
        let summary = &mut self.summary;
        summary.free = slot.next;
        summary.under_way += 1;
        summary.one_ways += usize::from(request.is_one_way);
        summary.earliest = summary.earliest.min(request.deadline);
        summary.with_reply_fds += usize::from(request.reply_fds > 0);
        summary.reply_fds = summary.reply_fds.max(request.reply_fds);
    }

    /// Returns what is known of a request under way. A late or forged id finds nothing.
    pub(crate) fn get(&self, id: RequestId) -> Option<UnderWay> {
        let slot = self.slots.get(usize::from(id.slot))?;
        match slot.state {
            State::UnderWay(request) if slot.generation == id.generation => Some(request),
            _ => None,
        }
    }

    /// Ends a request whose outcome is told now, and gives its tag; or a one-way, which has none.
    pub(crate) fn finish(&mut self, id: RequestId) -> Option<Tag> {
        let request = self.get(id)?;
        self.leave(&request);
        self.release(id)
    }

    /// Ends a request whose outcome is told by [`next_ended`](Self::next_ended).
    pub(crate) fn end(&mut self, id: RequestId, ending: Ending) {
        let Some(request) = self.get(id) else {
            return;
        };
        self.leave(&request);
        if let Some(slot) = self.slots.get_mut(usize::from(id.slot)) {
            slot.state = State::Ended(ending, request.frame);
            slot.next = NONE;
        }
        let first = match self.summary.ended {
            Some((first, last)) => {
                if let Some(slot) = self.slots.get_mut(usize::from(last)) {
                    slot.next = id.slot;
                }
                first
            }
            None => id.slot,
        };
        self.summary.ended = Some((first, id.slot));
        self.summary.ended_count += 1;
    }

    /// Notes how far a request came in a worker that was lost with it.
    pub(crate) fn note_lost(&mut self, id: RequestId, how: How) {
        let slot = self.slots.get_mut(usize::from(id.slot));
        if let Some(Slot { state: State::UnderWay(request), .. }) = slot {
            request.reached = request.reached.max(how);
            request.begun = request.begun.saturating_add(u8::from(how > How::NotBegun));
        }
    }

    /// Lets a one-way request that is late run to its end, which the worker will tell of.
    pub(crate) fn let_run(&mut self, id: RequestId) {
        let slot = self.slots.get_mut(usize::from(id.slot));
        if let Some(Slot { state: State::UnderWay(request), .. }) = slot {
            request.deadline = Instant::NEVER;
            request.is_late = true;
        }
    }

    /// Gives the next outcome that main came to, in the order in which it did.
    pub(crate) fn next_ended(&mut self) -> Option<Told<Tag>> {
        let (first, last) = self.summary.ended?;
        let slot = self.slots.get(usize::from(first))?;
        let State::Ended(ending, frame) = slot.state else {
            return None;
        };
        let id = RequestId { slot: first, generation: slot.generation };
        self.summary.ended = (first != last).then_some((slot.next, last));
        self.summary.ended_count -= 1;
        Some(Told { id, tag: self.release(id)?, ending, frame })
    }

    /// Returns the first request from a slot on whose deadline has passed, and its slot. After the
    /// last one, [`earliest`](Self::earliest) is exact.
    pub(crate) fn next_expired(&mut self, now: Instant, from: &mut u16) -> Option<RequestId> {
        if self.summary.earliest > now {
            return None;
        }
        let rest = self.slots.get(usize::from(*from)..).unwrap_or_default();
        for (slot, entry) in (*from..).zip(rest) {
            if matches!(entry.state, State::UnderWay(request) if request.deadline <= now) {
                *from = slot + 1;
                return Some(RequestId { slot, generation: entry.generation });
            }
        }
        let deadlines = self.slots.iter().filter_map(|slot| match slot.state {
            State::UnderWay(request) => Some(request.deadline),
            _ => None,
        });
        self.summary.earliest = deadlines.min().unwrap_or(Instant::NEVER);
        None
    }

    /// Returns a time before which no deadline passes.
    pub(crate) const fn earliest(&self) -> Instant {
        self.summary.earliest
    }

    /// Returns how many requests are under way, the one-way ones included.
    pub(crate) const fn under_way(&self) -> usize {
        self.summary.under_way
    }

    /// Returns how many one-way requests are under way.
    pub(crate) const fn one_ways(&self) -> usize {
        self.summary.one_ways
    }

    /// Returns how many outcomes wait to be told.
    pub(crate) const fn ended(&self) -> usize {
        self.summary.ended_count
    }

    /// Returns the most descriptors that a reply to a request under way may bring.
    pub(crate) const fn reply_fds(&self) -> u16 {
        self.summary.reply_fds
    }

    /// Counts a request out that was under way.
    fn leave(&mut self, request: &UnderWay) {
        let summary = &mut self.summary;
        summary.under_way -= 1;
        summary.one_ways -= usize::from(request.is_one_way);
        summary.with_reply_fds -= usize::from(request.reply_fds > 0);
        if summary.with_reply_fds == 0 {
            summary.reply_fds = 0;
        }
    }

    fn release(&mut self, id: RequestId) -> Option<Tag> {
        let slot = self.slots.get_mut(usize::from(id.slot))?;
        slot.state = State::Free;
        slot.generation = (id.generation + 1) % RequestId::GENERATIONS;
        slot.next = core::mem::replace(&mut self.summary.free, id.slot);
        slot.tag.take()
    }
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;

    use ipc_frame::{Header, Queue};

    use super::*;
    use crate::ledger::fate::Again;

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
                frame,
                deadline,
                again: Again::IfNotBegun,
                tries: 3,
                begun: 0,
                reached: How::NotBegun,
                reply_fds: u16::try_from(tag % 4).unwrap(),
                is_one_way: false,
                is_late: false,
            };
            self.table.insert(id, Some(tag), request);
            Some(id)
        }

        fn told(&mut self) -> Option<(RequestId, u32, Ending)> {
            self.table.next_ended().map(|told| (told.id, told.tag, told.ending))
        }
    }

    #[test]
    fn a_late_or_forged_id_finds_nothing() {
        let mut bench = Bench::<2>::new();
        let id = bench.insert(7, Instant::NEVER).unwrap();
        assert_eq!(bench.table.finish(RequestId { generation: 1, ..id }), None);
        assert_eq!(bench.table.finish(RequestId { slot: 900, ..id }), None);
        assert_eq!(bench.table.finish(id), Some(7));
        assert_eq!(bench.table.finish(id), None, "finished once");
        let next = bench.insert(8, Instant::NEVER).unwrap();
        assert_eq!((next.slot, next.generation), (id.slot, id.generation + 1));
        assert_eq!(bench.table.finish(id), None, "the slot's new request is another one");
    }

    #[test]
    fn deadlines_pass_once_and_endings_keep_their_order() {
        let mut bench = Bench::<4>::new();
        let at = Instant::from_nanoseconds;
        let first = bench.insert(1, at(30)).unwrap();
        let second = bench.insert(2, at(10)).unwrap();
        bench.insert(3, Instant::NEVER);
        assert_eq!(bench.table.earliest(), at(10));
        assert!(bench.table.next_expired(at(9), &mut 0).is_none());
        let mut from = 0;
        assert_eq!(bench.table.next_expired(at(10), &mut from), Some(second));
        bench.table.end(second, Ending::DeadlinePassed);
        assert!(bench.table.next_expired(at(10), &mut from).is_none());
        assert_eq!(bench.table.earliest(), at(30));
        bench.table.end(first, Ending::Cancelled);
        assert_eq!((bench.table.under_way(), bench.table.ended()), (1, 2));
        assert_eq!(bench.told(), Some((second, 2, Ending::DeadlinePassed)));
        assert_eq!(bench.told(), Some((first, 1, Ending::Cancelled)));
        assert_eq!(bench.told(), None);
    }

    #[test]
    fn a_slot_whose_ending_is_not_told_stays_in_use() {
        let mut bench = Bench::<1>::new();
        let id = bench.insert(1, Instant::NEVER).unwrap();
        bench.table.end(id, Ending::Cancelled);
        assert!(bench.table.next_id().is_none());
        bench.told();
        assert!(bench.table.next_id().is_some());
    }

    #[test]
    fn repro_expiry_is_linear_in_the_slots() {
        const SLOTS: usize = 60_000;
        let mut bench = Bench::<SLOTS>::new();
        let mut table = bench.table;
        let frame = bench.queue.push(Header::request(1, 1), &[]).unwrap();
        let at = Instant::from_nanoseconds(1);
        for tag in 0..SLOTS {
            let id = table.next_id().unwrap();
            let (again, reached, is_one_way, is_late) = (Again::Never, How::NotBegun, false, false);
            let (deadline, tries, begun, reply_fds) = (at, 1, 0, 0);
            let request = UnderWay {
                frame,
                deadline,
                again,
                tries,
                begun,
                reached,
                reply_fds,
                is_one_way,
                is_late,
            };
            table.insert(id, Some(u32::try_from(tag).unwrap()), request);
        }
        // What each call looks at begins behind what the one before found.
        let (mut from, mut expired) = (0, 0);
        while let Some(id) = table.next_expired(at, &mut from) {
            assert_eq!(id.slot + 1, from);
            table.end(id, Ending::DeadlinePassed);
            expired += 1;
        }
        assert_eq!((expired, table.ended()), (SLOTS, SLOTS));
    }

    #[test]
    fn the_allowance_is_the_largest_under_way() {
        let mut bench = Bench::<4>::new();
        assert_eq!(bench.table.reply_fds(), 0);
        let three = bench.insert(3, Instant::NEVER).unwrap();
        let one = bench.insert(1, Instant::NEVER).unwrap();
        assert_eq!(bench.table.reply_fds(), 3);
        bench.table.finish(three);
        bench.table.end(one, Ending::Cancelled);
        assert_eq!(bench.table.reply_fds(), 0, "no reply that is awaited brings any");
    }
}
