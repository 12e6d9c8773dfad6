//! A walk over the frames that a queue keeps.

use crate::decode::Frame;
use crate::queue::{FrameNumber, Queue};

/// A frame is kept from its push until it is retired. A walk copies no list:
///
/// ```
/// # let mut queue = ipc_frame::Queue::<256, 4>::new();
/// # queue.push(ipc_frame::Header::request(1, 1), &[])?;
/// let mut next = queue.first();
/// while let Some(number) = next {
///     queue.retire(number);
///     next = queue.next_after(number);
/// }
/// # Ok::<(), ipc_frame::PushError>(())
/// ```
impl<const BYTES: usize, const FRAMES: usize> Queue<BYTES, FRAMES> {
    /// Returns the first frame that is kept.
    pub fn first(&self) -> Option<FrameNumber> {
        self.kept_from(0)
    }

    /// Returns the kept frame that was pushed next after `number`, which need not be kept itself
    /// any more. A number keeps its place for 2³¹ pushes.
    pub fn next_after(&self, number: FrameNumber) -> Option<FrameNumber> {
        let ahead = number.0.wrapping_sub(self.first);
        let is_gone = ahead > u32::MAX / 2;
        self.kept_from(if is_gone { 0 } else { usize::try_from(ahead).ok()?.checked_add(1)? })
    }

    /// Returns the id of a kept frame.
    pub fn id(&self, number: FrameNumber) -> Option<u64> {
        Some(self.frame(number)?.header().id())
    }

    /// Returns a kept frame.
    pub fn frame(&self, number: FrameNumber) -> Option<Frame<'_>> {
        let (_, entry) = self.kept(number)?;
        self.frame_of(entry)
    }

    /// Stops a frame from being sent, now and after [`rewind`](Self::rewind), unless it is half
    /// sent. It keeps its bytes, its room and its place until it is retired.
    pub fn withdraw(&mut self, number: FrameNumber) {
        let entry = self.index_of(number).and_then(|index| self.entries.get_mut(index));
        if let Some(entry) = entry {
            entry.withdrawn = true;
        }
        self.reclaim();
    }

    /// Returns the ids of the kept frames, in the order of pushing.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        let numbers = core::iter::successors(self.first(), |number| self.next_after(*number));
        numbers.filter_map(|number| self.id(number))
    }

    fn kept_from(&self, index: usize) -> Option<FrameNumber> {
        let is_kept = |index: &usize| self.entries.get(*index).is_some_and(|entry| !entry.retired);
        (index..self.entries.count).find(is_kept).map(|index| self.number_of(index))
    }
}
