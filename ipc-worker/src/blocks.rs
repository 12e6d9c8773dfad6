//! Blocks of shared memory for large payloads, which main lends to requests. The launch's type says
//! whether there are any.

use core::fmt;

use ipc_frame::FrameNumber;
use ipc_transport::{SharedBytes, SharedPage, SystemError};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use crate::call::{Why, len_of};
use crate::ledger::{Account, Arena, Block, Ending, Geometry, PAGE, RequestId, UnderWay};
use crate::refusal::Refusal;

/// Bytes per page. Blocks are aligned to pages.
const PAGE_SIZE: usize = PAGE * size_of::<u32>();

/// Whether requests may be lent blocks: [`NoBlocks`] or [`Blocks`]. The trait is sealed.
///
/// This is a type, so a program links only what it uses. The provided methods do nothing.
pub trait Lend: fmt::Debug {
    /// The worker's view of the blocks.
    #[doc(hidden)]
    type View<'a>: View
    where
        Self: 'a;

    #[doc(hidden)]
    fn view(&self) -> Self::View<'_>;

    /// Prepares the memory for the next worker, and maps it for the first one. Requests for which
    /// `holds` returns true keep their blocks.
    #[doc(hidden)]
    fn begin(
        &mut self,
        _slots: usize,
        _holds: &dyn Fn(RequestId) -> bool,
    ) -> Result<(), SystemError> {
        Ok(())
    }

    /// Ends what the handlers of a worker held that has just ended. Unless its process is gone,
    /// such a block is not lent again before [`all_gone`](Self::all_gone).
    #[doc(hidden)]
    #[inline]
    fn bury(&mut self, _is_gone: bool) {}

    /// Frees what killed processes held that are gone by now. Returns whether there was any.
    #[doc(hidden)]
    #[inline]
    fn all_gone(&mut self) -> bool {
        false
    }

    /// Returns the file behind the memory, for a program that does not inherit the mapping.
    #[doc(hidden)]
    fn file(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Returns a free block for this payload, or `None` if it needs none.
    #[doc(hidden)]
    #[inline]
    fn find(
        &self,
        payload: Option<&[&[u8]]>,
        _holds: &dyn Fn(RequestId) -> bool,
    ) -> Result<Option<usize>, Why> {
        payload.map_or(Ok(None), |_| Err(Why::NoBlocks))
    }

    /// Lends the block, if any, to the request that was just accepted.
    #[doc(hidden)]
    #[inline]
    fn lend(&mut self, _block: Option<usize>, _payload: Option<&[&[u8]]>, _request: &UnderWay) {}

    /// Takes the block back from a request whose outcome is told, and returns its contents: the
    /// reply, or the request's own payload if it is given back.
    #[doc(hidden)]
    #[inline]
    fn take_back(&mut self, _frame: FrameNumber, _ending: Ending) -> Option<SharedBytes<'_>> {
        None
    }
}

/// A worker's view of the blocks.
pub trait View: Copy + fmt::Debug {
    /// Returns the block of a request.
    #[doc(hidden)]
    #[inline]
    fn of(&self, _id: RequestId) -> Option<Block<'_>> {
        None
    }
}

/// No request is lent a block.
#[derive(Clone, Copy, Debug)]
pub struct NoBlocks;

impl View for NoBlocks {}

impl Lend for NoBlocks {
    type View<'a> = Self;

    fn view(&self) -> Self {
        *self
    }
}

/// `N` blocks of equal size. They outlive each worker. See [`Start::blocks`](crate::Start::blocks).
#[derive(Debug)]
pub struct Blocks<const N: usize> {
    memory: Memory,
    account: Account<N>,
}

/// The memory of blocks.
#[derive(Debug)]
struct Memory {
    geometry: Geometry,
    /// The worker does not inherit the mapping and gets a file instead.
    by_file: bool,
    mapped: Option<(SharedPage, Option<OwnedFd>)>,
}

impl View for Arena<'_> {
    fn of(&self, id: RequestId) -> Option<Block<'_>> {
        Arena::of(*self, id)
    }
}

impl Memory {
    /// Returns the arena, which is empty before the memory is mapped.
    fn arena(&self) -> Arena<'_> {
        let words = self.mapped.as_ref().map_or(&[][..], |(page, _)| page.words());
        Arena { words, geometry: self.geometry }
    }

    /// Maps the memory, once.
    fn map(&mut self, slots: usize) -> Result<(), SystemError> {
        if self.mapped.is_some() {
            return Ok(());
        }
        // The words hold lengths in bytes.
        if u32::try_from(self.capacity()).is_err() {
            return Err(SystemError::of("Start::blocks")(Errno::INVAL));
        }
        self.geometry.slots = slots;
        let len = self.geometry.page_len();
        self.mapped = Some(if self.by_file {
            SharedPage::with_file(len).map(|(page, file)| (page, Some(file)))?
        } else {
            (SharedPage::new(len)?, None)
        });
        Ok(())
    }

    /// Bytes of a block, which saturate.
    const fn capacity(&self) -> usize {
        self.geometry.words_each.saturating_mul(size_of::<u32>())
    }
}

impl<const N: usize> Blocks<N> {
    pub(crate) const fn new(len: usize, by_file: bool) -> Self {
        const { assert!(0 < N && N <= 1024, "there are 1 to 1024 blocks") };
        let words_each = len.div_ceil(PAGE_SIZE).saturating_mul(PAGE);
        let geometry = Geometry { slots: 0, count: N, words_each };
        Self { memory: Memory { geometry, by_file, mapped: None }, account: Account::NEW }
    }
}

impl<const N: usize> Lend for Blocks<N> {
    type View<'a> = Arena<'a>;

    fn begin(
        &mut self,
        slots: usize,
        holds: &dyn Fn(RequestId) -> bool,
    ) -> Result<(), SystemError> {
        self.memory.map(slots)?;
        self.account.begin(self.memory.arena(), holds);
        Ok(())
    }

    fn bury(&mut self, is_gone: bool) {
        self.account.bury(self.memory.arena(), is_gone);
    }

    fn view(&self) -> Arena<'_> {
        self.memory.arena()
    }

    fn all_gone(&mut self) -> bool {
        self.account.all_gone()
    }

    fn file(&self) -> Option<BorrowedFd<'_>> {
        self.memory.mapped.as_ref()?.1.as_ref().map(AsFd::as_fd)
    }

    fn find(
        &self,
        payload: Option<&[&[u8]]>,
        holds: &dyn Fn(RequestId) -> bool,
    ) -> Result<Option<usize>, Why> {
        let Some(payload) = payload else { return Ok(None) };
        let (len, capacity) = (len_of(payload), self.memory.capacity());
        if len > capacity {
            return Err(Why::TooLong { len, capacity });
        }
        self.account.find(self.view(), holds).map(Some).ok_or(Why::Full)
    }

    fn lend(&mut self, block: Option<usize>, payload: Option<&[&[u8]]>, request: &UnderWay) {
        self.account.lend(self.memory.arena(), block, payload.unwrap_or_default(), request);
    }

    fn take_back(&mut self, frame: FrameNumber, ending: Ending) -> Option<SharedBytes<'_>> {
        self.account.take_back(self.memory.arena(), frame, ending)
    }
}

impl Block<'_> {
    /// Makes the first `len` bytes of the block part of the reply. By default none are. Has no
    /// effect on a refusal or a one-way request.
    ///
    /// # Errors
    /// [`Refusal::REPLY_TOO_LONG`] if the block is shorter.
    pub fn reply(&self, len: usize) -> Result<(), Refusal> {
        if self.set_reply(len) { Ok(()) } else { Err(Refusal::REPLY_TOO_LONG) }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_whole_pages_and_none_is_too_large_for_an_error() {
        let capacity = |len: usize| {
            let blocks = Blocks::<1>::new(len, false);
            match blocks.find(Some(&[&std::vec![0; 9000]]), &|_| false) {
                Err(Why::TooLong { capacity, .. }) => capacity,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!([0, 1, 4096, 4097].map(capacity), [0, 4096, 4096, 8192]);
        for len in [usize::MAX, usize::MAX / 2, usize::try_from(u32::MAX).unwrap()] {
            let mut huge = Blocks::<4>::new(len, false);
            assert!(huge.begin(1, &|_| false).is_err());
        }
        assert_eq!(Blocks::<1>::new(1, false).find(None, &|_| false), Ok(None));
    }
}
