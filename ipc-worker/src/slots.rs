//! A word per request in shared memory, which one compare-exchange gives to main or the worker.

use core::sync::atomic::{AtomicU32, Ordering, fence};

use ipc_transport::{SharedPage, SystemError};

use crate::event::Lost;

/// Who has a request. The word is the request's generation and one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// On its way: whoever is first takes it.
    Queued = 1,
    /// The worker's handler runs.
    Running = 2,
    /// The worker's handler has finished.
    Done = 3,
    /// Main has taken it back.
    Taken = 4,
    /// The worker's handler has refused a one-way request: there is no frame to say so.
    Refused = 5,
}

const STATE_BITS: u32 = 3;

/// How a handler has finished with a one-way request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    Done,
    Refused,
}

/// What joins a request to its outcome: its slot, and which of the slot's uses it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    pub(crate) slot: u16,
    pub(crate) generation: u32,
}

impl RequestId {
    /// Generations wrap at this: what is left of a word beside the state.
    pub(crate) const GENERATIONS: u32 = 1 << (u32::BITS - STATE_BITS);

    #[inline]
    pub(crate) fn to_wire(self) -> u64 {
        u64::from(self.slot) | u64::from(self.generation) << u32::BITS
    }

    /// Reads an id that a peer has sent. It may be of no slot at all.
    #[inline]
    pub(crate) fn from_wire(id: u64) -> Option<Self> {
        let slot = u16::try_from(id & u64::from(u32::MAX)).ok()?;
        let generation = u32::try_from(id >> u32::BITS).ok()?;
        (generation < Self::GENERATIONS).then_some(Self { slot, generation })
    }

    const fn word(self, state: State) -> u32 {
        let state = match state {
            State::Queued => 1,
            State::Running => 2,
            State::Done => 3,
            State::Taken => 4,
            State::Refused => 5,
        };
        self.generation << STATE_BITS | state
    }
}

/// The words of one worker, and after them one by which main asks to be told when one-way requests
/// are done. What the worker writes there is a hint from a peer: a lie changes nothing but the fate
/// of the requests that it was given.
#[derive(Debug)]
pub(crate) struct Slots(SharedPage);

impl Slots {
    pub(crate) fn new(count: usize) -> Result<Self, SystemError> {
        SharedPage::new(count.saturating_add(1)).map(Self)
    }

    /// Offers a request to the worker; main does so before it is sent.
    #[inline]
    pub(crate) fn queue(&self, id: RequestId) {
        if let Some(word) = self.word(id) {
            word.store(id.word(State::Queued), Ordering::Release);
        }
    }

    /// Takes a request back from the worker. It answers how far the request had come; one that
    /// had not begun never will.
    pub(crate) fn take_back(&self, id: RequestId) -> Lost {
        let Some(word) = self.word(id) else {
            return Lost::NotBegun;
        };
        let taken = id.word(State::Taken);
        if change(word, id.word(State::Queued), taken) {
            Lost::NotBegun
        } else if self.finished(id).is_some() {
            Lost::Done
        } else {
            // Shows the handler, if it asks, that nobody waits for it any more.
            change(word, id.word(State::Running), taken);
            Lost::Running
        }
    }

    /// Claims a request for the handler; `None` where main has taken it back.
    #[inline]
    pub(crate) fn claim(&self, id: RequestId) -> Option<Claim<'_>> {
        let word = self.word(id)?;
        change(word, id.word(State::Queued), id.word(State::Running)).then_some(Claim { word, id })
    }

    /// Returns how the handler has finished with a request, once it has.
    pub(crate) fn finished(&self, id: RequestId) -> Option<Finish> {
        let word = self.word(id)?.load(Ordering::Acquire);
        if word == id.word(State::Done) {
            Some(Finish::Done)
        } else {
            (word == id.word(State::Refused)).then_some(Finish::Refused)
        }
    }

    /// Asks the worker for a frame once it has finished with one-way requests. What it has finished
    /// with before it could see this shows in their words from now on.
    pub(crate) fn ask(&self) {
        if let Some(asked) = self.asked() {
            asked.store(1, Ordering::Relaxed);
            // Pairs with the fence in `take_ask`: one of the two sides sees what the other wrote.
            fence(Ordering::SeqCst);
        }
    }

    /// Returns whether the worker was asked and has not yet seen it.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked().is_some_and(|asked| asked.load(Ordering::Relaxed) != 0)
    }

    /// Returns whether main has asked; the worker does so after it has told of what is done.
    pub(crate) fn take_ask(&self) -> bool {
        fence(Ordering::SeqCst);
        self.asked().is_some_and(|asked| asked.swap(0, Ordering::Relaxed) != 0)
    }

    fn asked(&self) -> Option<&AtomicU32> {
        self.0.words().last()
    }

    fn word(&self, id: RequestId) -> Option<&AtomicU32> {
        let (_, words) = self.0.words().split_last()?;
        words.get(usize::from(id.slot))
    }
}

/// A request that the worker has claimed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    word: &'a AtomicU32,
    id: RequestId,
}

impl Claim<'_> {
    /// Tells main that the handler has finished. Main may have given the slot to another request
    /// meanwhile, which this leaves alone.
    #[inline]
    pub(crate) fn done(self) {
        self.finish(Finish::Done);
    }

    /// Tells main how the handler has finished.
    #[inline]
    pub(crate) fn finish(self, finish: Finish) {
        let state = match finish {
            Finish::Done => State::Done,
            Finish::Refused => State::Refused,
        };
        change(self.word, self.id.word(State::Running), self.id.word(state));
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.word.load(Ordering::Acquire) != self.id.word(State::Running)
    }
}

/// The compare-exchange that decides. Release and acquire pair with each other on the two sides.
fn change(word: &AtomicU32, from: u32, to: u32) -> bool {
    word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RequestId = RequestId { slot: 3, generation: 0x1fff_ffff };

    #[test]
    fn only_one_side_has_a_request() {
        let slots = Slots::new(4).unwrap();
        slots.queue(ID);
        assert!(slots.claim(ID).is_some());
        assert!(slots.claim(ID).is_none(), "claimed once");
        slots.queue(ID);
        assert_eq!(slots.take_back(ID), Lost::NotBegun);
        assert!(slots.claim(ID).is_none(), "taken back");
    }

    #[test]
    fn take_back_tells_how_far_it_had_come_and_revokes() {
        let slots = Slots::new(4).unwrap();
        slots.queue(ID);
        let claim = slots.claim(ID).unwrap();
        assert!(!claim.is_revoked());
        assert_eq!(slots.take_back(ID), Lost::Running);
        assert!(claim.is_revoked());
        slots.queue(ID);
        slots.claim(ID).unwrap().done();
        assert_eq!(slots.take_back(ID), Lost::Done);
    }

    #[test]
    fn a_late_done_leaves_the_slots_next_request_alone() {
        let slots = Slots::new(4).unwrap();
        slots.queue(ID);
        let late = slots.claim(ID).unwrap();
        let next = RequestId { generation: 0, ..ID };
        slots.queue(next);
        late.done();
        assert!(slots.claim(next).is_some());
    }

    #[test]
    fn a_finish_shows_in_the_word() {
        let slots = Slots::new(4).unwrap();
        for finish in [Finish::Done, Finish::Refused] {
            slots.queue(ID);
            let claim = slots.claim(ID).unwrap();
            assert_eq!(slots.finished(ID), None);
            claim.finish(finish);
            assert_eq!(slots.finished(ID), Some(finish));
            assert_eq!(slots.take_back(ID), Lost::Done);
            assert_eq!(slots.finished(RequestId { generation: 1, ..ID }), None);
        }
    }

    #[test]
    fn main_is_told_once_for_each_time_that_it_asks() {
        let slots = Slots::new(4).unwrap();
        assert!(!slots.take_ask());
        slots.ask();
        assert!(slots.is_asked() && slots.take_ask() && !slots.take_ask());
        // The word behind the last slot is no slot, whatever id a frame has.
        let behind = RequestId { slot: 4, generation: 0 };
        slots.queue(behind);
        assert!(!slots.is_asked() && slots.claim(behind).is_none());
    }

    #[test]
    fn garbage_in_a_word_counts_as_running() {
        let slots = Slots::new(4).unwrap();
        slots.word(ID).unwrap().store(7, Ordering::Relaxed);
        assert_eq!(slots.take_back(ID), Lost::Running);
    }

    #[test]
    fn ids_survive_the_wire_and_forged_ones_are_none() {
        assert_eq!(RequestId::from_wire(ID.to_wire()), Some(ID));
        assert_eq!(RequestId::from_wire(0x1_0000), None);
        assert_eq!(RequestId::from_wire(u64::MAX), None);
        assert_eq!(RequestId::from_wire(u64::from(RequestId::GENERATIONS) << 32), None);
    }
}
