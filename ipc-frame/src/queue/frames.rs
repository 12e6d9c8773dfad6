//! The list of frames in a queue: where each lies in the bytes, and its state.

/// The number of a frame in its queue, in the order of pushing. Numbers are never reused, not even
/// after [`Queue::clear`](crate::Queue::clear).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameNumber(pub(super) u64);

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Where the frame lies in the queue's bytes.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) fd_count: u16,
    /// A byte of it was sent since the last rewind, or it is marked as sent.
    pub(super) begun: bool,
    /// It must not be sent, but keeps its place.
    pub(super) withdrawn: bool,
    pub(super) retired: bool,
}

impl Entry {
    pub(super) const NONE: Self =
        Self { start: 0, end: 0, fd_count: 0, begun: false, withdrawn: false, retired: false };

    /// Whether sending skips it: it is sent already or must not be sent. A half-sent frame is never
    /// skipped; the caller checks that.
    pub(super) const fn is_passed_over(&self) -> bool {
        self.retired || self.withdrawn || self.begun
    }
}

/// At most `N` entries, with the numbers from `first` up to but not including `next`. All-zero
/// bytes are the empty list.
pub(super) struct Frames<const N: usize> {
    entries: [Entry; N],
    pub(super) first: u64,
    pub(super) next: u64,
}

impl<const N: usize> Frames<N> {
    pub(super) const fn new() -> Self {
        Self { entries: [Entry::NONE; N], first: 0, next: 0 }
    }

    pub(super) fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(self.place_of(number)?)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Entry> {
        let place = self.place_of(number)?;
        self.entries.get_mut(place)
    }

    /// Appends an entry. The list must not be full.
    pub(super) fn push(&mut self, entry: Entry) -> FrameNumber {
        let number = self.next;
        self.next += 1;
        if let Some(place) = self.get_mut(number) {
            *place = entry;
        }
        FrameNumber(number)
    }

    fn place_of(&self, number: u64) -> Option<usize> {
        let place = usize::try_from(number.checked_rem(N as u64)?).ok()?;
        (self.first..self.next).contains(&number).then_some(place)
    }
}
