//! One shared word per request. A compare-exchange on it gives the request to main or to the
//! worker.

use core::sync::atomic::Ordering;

use super::atomic::{AtomicU32, Mapped, of_page};
use super::credit::{self, Credit};
use super::fate::How;
use super::id::RequestId;

/// Which side has a request. A word is the request's generation and one of these states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Offered. The first side to claim it has it. Zero is a word that was never used.
    Queued = 1,
    /// The worker's handler runs.
    Running,
    /// The worker's handler has finished.
    Done,
    /// Main has taken it back.
    Taken,
    /// The worker's handler runs, and main asked it to stop.
    Stopping,
}

impl State {
    const fn of(self, id: RequestId) -> u32 {
        id.generation << RequestId::STATE_BITS | self as u32
    }
}

/// A value that no correct worker writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BrokenWord;

/// The words of one worker. Main treats what the worker writes as hints: a lie changes only the
/// fates of requests that this worker had. Without a worker the list is empty, and no request has
/// begun.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Words<'page>(pub(crate) &'page [AtomicU32]);

impl<'page> Words<'page> {
    /// Returns how many words a page needs for `slots` slots.
    pub(crate) const fn page_len(slots: usize) -> usize {
        credit::WORDS + slots
    }

    /// Returns the words of a page, and the credit before them.
    pub(crate) fn of_page(page: &'page [Mapped]) -> (Self, Credit<'page>) {
        let split = page.split_first_chunk();
        split.map_or_else(Default::default, |(credit, words)| {
            (Self(of_page(words)), Credit(Some(credit)))
        })
    }

    /// Offers a request to the worker. Main does this before it sends the request.
    #[inline]
    pub(crate) fn offer(self, id: RequestId) {
        if let Some(word) = self.word(id) {
            word.store(State::Queued.of(id), Ordering::Release);
        }
    }

    /// Takes a request back from the worker, and returns how far it got. If it had not begun, it
    /// never will. If its word is invalid, it may have begun.
    pub(crate) fn take_back(self, id: RequestId) -> Result<How, BrokenWord> {
        let Some(word) = self.word(id) else {
            return Ok(How::NotBegun);
        };
        let taken = State::Taken.of(id);
        if change(word, State::Queued.of(id), taken) {
            return Ok(How::NotBegun);
        }
        // Tells a handler that checks it that nobody waits any more.
        let stop = |state: State| change(word, state.of(id), taken);
        if stop(State::Running) || stop(State::Stopping) {
            return Ok(How::Running);
        }
        match word.load(Ordering::Acquire) {
            word if word == State::Done.of(id) => Ok(How::Done),
            // A late request was taken back before.
            word if word == taken => Ok(How::Running),
            _ => Err(BrokenWord),
        }
    }

    /// Returns how far a request got, without taking it back.
    pub(crate) fn peek(self, id: RequestId) -> How {
        match self.word(id).map(|word| word.load(Ordering::Acquire)) {
            Some(word) if word == State::Queued.of(id) => How::NotBegun,
            Some(word) if word == State::Done.of(id) => How::Done,
            _ => How::Running,
        }
    }

    /// Asks a running handler to stop. The worker keeps the request.
    pub(crate) fn ask_to_stop(self, id: RequestId) {
        if let Some(word) = self.word(id) {
            change(word, State::Running.of(id), State::Stopping.of(id));
        }
    }

    /// Claims a request for the handler. `None` if main has taken it back.
    #[inline]
    pub(crate) fn claim(self, id: RequestId) -> Option<Claim<'page>> {
        let word = self.word(id)?;
        let is_ours = change(word, State::Queued.of(id), State::Running.of(id));
        is_ours.then_some(Claim { word, id })
    }

    fn word(self, id: RequestId) -> Option<&'page AtomicU32> {
        self.0.get(usize::from(id.slot))
    }
}

/// A request that the worker has claimed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'page> {
    word: &'page AtomicU32,
    id: RequestId,
}

impl Claim<'_> {
    /// Tells main that the handler has finished. Does nothing if main has given the slot to another
    /// request meanwhile.
    #[inline]
    pub(crate) fn done(self) {
        let done = State::Done.of(self.id);
        _ = change(self.word, State::Running.of(self.id), done)
            || change(self.word, State::Stopping.of(self.id), done);
    }

    /// Returns whether main has taken the request back, or asked the handler to stop.
    pub(crate) fn is_revoked(&self) -> bool {
        self.word.load(Ordering::Acquire) != State::Running.of(self.id)
    }
}

/// The compare-exchange that decides. Its release pairs with the other side's acquire.
fn change(word: &AtomicU32, from: u32, to: u32) -> bool {
    word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    const ID: RequestId = RequestId { slot: 3, generation: 0x1fff_ffff };

    fn page() -> [AtomicU32; 4] {
        core::array::from_fn(|_| AtomicU32::new(0))
    }

    #[test]
    fn only_one_side_has_a_request() {
        let page = page();
        let words = Words(&page);
        words.offer(ID);
        assert!(words.claim(ID).is_some());
        assert!(words.claim(ID).is_none(), "claimed once");
        words.offer(ID);
        assert_eq!(words.take_back(ID), Ok(How::NotBegun));
        assert!(words.claim(ID).is_none(), "taken back");
    }

    #[test]
    fn take_back_tells_how_far_it_had_come_and_revokes() {
        let page = page();
        let words = Words(&page);
        words.offer(ID);
        let claim = words.claim(ID).unwrap();
        assert!(!claim.is_revoked());
        assert_eq!(words.take_back(ID), Ok(How::Running));
        assert!(claim.is_revoked());
        assert_eq!(words.take_back(ID), Ok(How::Running), "again");
        claim.done();
        assert_eq!(words.take_back(ID), Ok(How::Running), "too late");
        words.offer(ID);
        let claim = words.claim(ID).unwrap();
        words.ask_to_stop(ID);
        assert!(claim.is_revoked());
        assert_eq!(words.take_back(ID), Ok(How::Running));
        words.offer(ID);
        assert_eq!(words.peek(ID), How::NotBegun);
        let claim = words.claim(ID).unwrap();
        words.ask_to_stop(ID);
        assert_eq!(words.peek(ID), How::Running);
        claim.done();
        words.ask_to_stop(ID);
        assert_eq!(words.peek(ID), How::Done);
        assert_eq!(words.take_back(ID), Ok(How::Done), "its handler has ended");
        words.offer(ID);
        words.claim(ID).unwrap().done();
        assert_eq!(words.take_back(ID), Ok(How::Done));
    }

    #[test]
    fn a_late_done_leaves_the_next_request_of_the_slot_alone() {
        let page = page();
        let words = Words(&page);
        words.offer(ID);
        let late = words.claim(ID).unwrap();
        let next = RequestId { generation: 0, ..ID };
        words.offer(next);
        late.done();
        assert!(words.claim(next).is_some());
    }

    #[test]
    fn an_id_beyond_the_page_has_no_word() {
        let page = page();
        let beyond = RequestId { slot: 4, generation: 0 };
        Words(&page).offer(beyond);
        assert!(Words(&page).claim(beyond).is_none());
        assert_eq!(Words(&page).take_back(beyond), Ok(How::NotBegun));
    }

    #[test]
    fn garbage_in_a_word_is_told() {
        let page = page();
        page[3].store(7, Ordering::Relaxed);
        assert_eq!(Words(&page).take_back(ID), Err(BrokenWord));
    }
}
