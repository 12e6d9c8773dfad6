//! The entries of a queue, first in, first out.

/// Where a frame lies, and how far it has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) fd_count: u16,
    /// A byte of it went out since the last rewind, or it counts as sent.
    pub(super) begun: bool,
    /// It is not sent any more, but keeps its place.
    pub(super) withdrawn: bool,
    pub(super) retired: bool,
}

impl Entry {
    pub(super) const NONE: Self =
        Self { start: 0, len: 0, fd_count: 0, begun: false, withdrawn: false, retired: false };

    /// Whether sending passes over it, unless it is half sent.
    pub(super) const fn is_passed_over(&self) -> bool {
        self.retired || self.withdrawn
    }
}

/// At most `N` entries. All bytes zero is the empty ring.
pub(super) struct Ring<const N: usize> {
    entries: [Entry; N],
    front: usize,
    pub(super) count: usize,
}

impl<const N: usize> Ring<N> {
    pub(super) const fn new() -> Self {
        Self { entries: [Entry::NONE; N], front: 0, count: 0 }
    }

    pub(super) fn get(&self, index: usize) -> Option<&Entry> {
        self.entries.get(self.place_of(index)?)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Entry> {
        let place = self.place_of(index)?;
        self.entries.get_mut(place)
    }

    /// Appends an entry, unless the ring is full.
    pub(super) fn push(&mut self, entry: Entry) {
        if self.count < N {
            self.count += 1;
            if let Some(place) = self.get_mut(self.count - 1) {
                *place = entry;
            }
        }
    }

    pub(super) const fn pop(&mut self) {
        if self.count > 0 {
            self.count -= 1;
            self.front = if self.front + 1 < N { self.front + 1 } else { 0 };
        }
    }

    fn place_of(&self, index: usize) -> Option<usize> {
        let to_end = N - self.front;
        let place = if index < to_end { self.front + index } else { index - to_end };
        (index < self.count).then_some(place)
    }
}
