//! Blocks of shared memory for large payloads, which main lends to requests. The launch's type says
//! whether there are any.

use core::fmt;

use ipc_frame::FrameNumber;
use ipc_transport::{SharedBytes, SharedPage, SystemError};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::call::Why;
use crate::ledger::{Arena, Block, Geometry, Hold, PAGE, RequestId};
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
    /// `holds` returns true keep their blocks. A block that the last worker's handler held is
    /// freed, unless a killed process may still exist.
    #[doc(hidden)]
    fn begin(
        &mut self,
        _slots: usize,
        _is_alone: bool,
        _holds: &dyn Fn(RequestId) -> bool,
    ) -> Result<(), SystemError> {
        Ok(())
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
    fn lend(
        &mut self,
        _block: Option<usize>,
        _payload: Option<&[&[u8]]>,
        _id: RequestId,
        _frame: Option<FrameNumber>,
    ) {
    }

    /// Returns the contents of a request's block: the reply, or the request's own payload.
    #[doc(hidden)]
    #[inline]
    fn returned(&self, _frame: FrameNumber, _is_reply: bool) -> Option<SharedBytes<'_>> {
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
    geometry: Geometry,
    /// The worker does not inherit the mapping and gets a file instead.
    by_file: bool,
    mapped: Option<(SharedPage, Option<OwnedFd>)>,
    lent: [Option<Lent>; N],
}

/// The request that was lent a block last.
#[derive(Clone, Copy, Debug)]
struct Lent {
    id: RequestId,
    frame: Option<FrameNumber>,
    /// Bytes of the request's payload.
    len: usize,
}

impl View for Arena<'_> {
    fn of(&self, id: RequestId) -> Option<Block<'_>> {
        Arena::of(*self, id)
    }
}

impl<const N: usize> Blocks<N> {
    pub(crate) const fn new(len: usize, by_file: bool) -> Self {
        const { assert!(0 < N && N <= 1024, "there are 1 to 1024 blocks") };
        let words_each = len.div_ceil(PAGE_SIZE).saturating_mul(PAGE);
        let geometry = Geometry { slots: 0, count: N, words_each };
        Self { geometry, by_file, mapped: None, lent: [None; N] }
    }

    fn arena(&self) -> Arena<'_> {
        let words = self.mapped.as_ref().map_or(&[][..], |(page, _)| page.words());
        Arena { words, geometry: self.geometry }
    }

    /// Returns the total length of a payload.
    fn len(payload: &[&[u8]]) -> usize {
        payload.iter().fold(0, |sum: usize, piece| sum.saturating_add(piece.len()))
    }
}

impl<const N: usize> Lend for Blocks<N> {
    type View<'a> = Arena<'a>;

    fn begin(
        &mut self,
        slots: usize,
        is_alone: bool,
        holds: &dyn Fn(RequestId) -> bool,
    ) -> Result<(), SystemError> {
        if self.mapped.is_none() {
            self.geometry.slots = slots;
            let len = self.geometry.page_len();
            self.mapped = Some(if self.by_file {
                SharedPage::with_file(len).map(|(page, file)| (page, Some(file)))?
            } else {
                (SharedPage::new(len)?, None)
            });
        }
        // Overwrite whatever the last worker left in the words.
        let arena = self.arena();
        arena.describe();
        for slot in 0..u16::try_from(self.geometry.slots).unwrap_or(u16::MAX) {
            arena.assign(slot, None);
        }
        for (number, lent) in self.lent.iter().enumerate() {
            let Some(block) = arena.block(number) else { continue };
            if is_alone {
                _ = block.hold().map(Hold::release);
            }
            if let Some(lent) = lent.filter(|lent| holds(lent.id)) {
                block.begin(lent.len);
                arena.assign(lent.id.slot(), Some(number));
            }
        }
        Ok(())
    }

    fn view(&self) -> Arena<'_> {
        self.arena()
    }

    fn file(&self) -> Option<BorrowedFd<'_>> {
        self.mapped.as_ref()?.1.as_ref().map(AsFd::as_fd)
    }

    fn find(
        &self,
        payload: Option<&[&[u8]]>,
        holds: &dyn Fn(RequestId) -> bool,
    ) -> Result<Option<usize>, Why> {
        let Some(payload) = payload else { return Ok(None) };
        let (len, capacity) = (Self::len(payload), self.geometry.words_each * size_of::<u32>());
        if len > capacity {
            return Err(Why::TooLong { len, capacity });
        }
        let arena = self.arena();
        let is_free = |number, lent: &Option<Lent>| {
            let hold = arena.block(number).and_then(|block| block.hold());
            lent.is_none_or(|lent| !holds(lent.id)) && hold.is_some_and(|hold| hold.is_free())
        };
        let mut blocks = self.lent.iter().enumerate();
        let found = blocks.find(|(number, lent)| is_free(*number, lent));
        found.map(|(number, _)| Some(number)).ok_or(Why::Full)
    }

    fn lend(
        &mut self,
        block: Option<usize>,
        payload: Option<&[&[u8]]>,
        id: RequestId,
        frame: Option<FrameNumber>,
    ) {
        let arena = self.arena();
        arena.assign(id.slot(), block);
        let Some((number, payload)) = block.zip(payload) else { return };
        let Some(block) = arena.block(number) else { return };
        let mut len = 0;
        for piece in payload {
            len += block.space().write_at(len, piece);
        }
        block.begin(len);
        if let Some(lent) = self.lent.get_mut(number) {
            *lent = Some(Lent { id, frame, len });
        }
    }

    fn returned(&self, frame: FrameNumber, is_reply: bool) -> Option<SharedBytes<'_>> {
        let has_it = |lent: &Option<Lent>| lent.is_some_and(|lent| lent.frame == Some(frame));
        let number = self.lent.iter().position(has_it)?;
        let block = self.arena().block(number)?;
        let given = self.lent.get(number)?.as_ref()?.len;
        Some(if is_reply { block.replied() } else { block.first(given) })
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
    use std::collections::HashMap;

    use super::*;

    const SLOTS: usize = 5;

    fn id(slot: u64, generation: u64) -> RequestId {
        RequestId::from_wire(slot | generation << u32::BITS).unwrap()
    }

    /// A pseudo-random sequence that is the same in each run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 33) % limit
        }
    }

    /// A request in flight, or one that main has given up while its handler still runs.
    struct Asked {
        block: usize,
        filler: u8,
        is_under_way: bool,
        runs: bool,
    }

    fn check(blocks: &Blocks<3>, asked: &HashMap<u64, Asked>) {
        for (wire, asked) in asked {
            let block = blocks.arena().block(asked.block).unwrap();
            let mut bytes = [0; 9];
            assert_eq!(block.bytes().read_at(0, &mut bytes), 5);
            assert_eq!(bytes[..5], [asked.filler; 5], "another request's bytes");
            if asked.is_under_way {
                let found = blocks.arena().of(RequestId::from_wire(*wire).unwrap());
                assert_eq!(found.unwrap().bytes().len(), 5);
            }
        }
    }

    #[test]
    fn no_two_requests_and_handlers_have_one_block_at_the_same_time() {
        let (mut numbers, mut full) = (Numbers(1), 0);
        let mut blocks = Blocks::<3>::new(100, false);
        blocks.begin(SLOTS, true, &|_| false).unwrap();
        let mut asked: HashMap<u64, Asked> = HashMap::new();
        let mut generations = [0; SLOTS];
        for step in 0..20_000_u64 {
            let slot = numbers.below(SLOTS as u64);
            let generation: &mut u64 = &mut generations[usize::try_from(slot).unwrap()];
            let wire = id(slot, *generation).to_wire();
            let held = |asked: &HashMap<u64, Asked>, id: RequestId| {
                asked.get(&id.to_wire()).is_some_and(|asked| asked.is_under_way)
            };
            match numbers.below(6) {
                // A request is accepted.
                0 | 1 if !asked.contains_key(&wire) => {
                    let filler = u8::try_from(step % 256).unwrap();
                    let payload: &[&[u8]] = &[&[filler; 3], &[filler; 2]];
                    let found = blocks.find(Some(payload), &|id| held(&asked, id));
                    let busy = asked.len();
                    let Ok(Some(block)) = found else {
                        assert_eq!((found, busy), (Err(Why::Full), 3));
                        full += 1;
                        continue;
                    };
                    blocks.lend(Some(block), Some(payload), id(slot, *generation), None);
                    let new = Asked { block, filler, is_under_way: true, runs: false };
                    asked.insert(wire, new);
                }
                // A handler begins.
                2 => {
                    if let Some(asked) = asked.get_mut(&wire).filter(|it| it.is_under_way) {
                        asked.runs = true;
                        blocks.arena().block(asked.block).unwrap().hold().unwrap().take();
                    }
                }
                // A handler returns.
                3 => {
                    let running = asked.iter().find(|(_, asked)| asked.runs).map(|(wire, _)| *wire);
                    if let Some(running) = running {
                        let asked_of = asked.get_mut(&running).unwrap();
                        asked_of.runs = false;
                        blocks.arena().block(asked_of.block).unwrap().hold().unwrap().release();
                        if !asked_of.is_under_way {
                            asked.remove(&running);
                        }
                    }
                }
                // A request gets its outcome.
                4 => {
                    if let Some(asked_of) = asked.get_mut(&wire).filter(|it| it.is_under_way) {
                        *generation += 1;
                        asked_of.is_under_way = false;
                        if !asked_of.runs {
                            asked.remove(&wire);
                        }
                    }
                }
                // The worker dies after it has written arbitrary values.
                5 if step % 10 == 0 => {
                    let words = blocks.arena().words.iter().take(PAGE);
                    words.for_each(|word| {
                        word.store(
                            u32::try_from(step).unwrap(),
                            core::sync::atomic::Ordering::Relaxed,
                        )
                    });
                    asked.values_mut().for_each(|asked| asked.runs = false);
                    asked.retain(|_, asked| asked.is_under_way);
                    let holds = |id| held(&asked, id);
                    blocks.begin(SLOTS, true, &holds).unwrap();
                }
                _ => {}
            }
            check(&blocks, &asked);
        }
        assert!(full > 100, "{full}");
    }

    #[test]
    fn what_a_process_that_may_still_be_there_holds_is_not_lent() {
        let mut blocks = Blocks::<2>::new(1, false);
        blocks.begin(1, true, &|_| false).unwrap();
        blocks.arena().block(0).unwrap().hold().unwrap().take();
        blocks.begin(1, false, &|_| false).unwrap();
        assert_eq!(blocks.find(Some(&[]), &|_| false), Ok(Some(1)));
        blocks.begin(1, true, &|_| false).unwrap();
        assert_eq!(blocks.find(Some(&[]), &|_| false), Ok(Some(0)));
    }

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
        for len in [usize::MAX, usize::MAX / 2] {
            let mut huge = Blocks::<4>::new(len, false);
            assert!(huge.begin(1, true, &|_| false).is_err());
        }
        assert_eq!(Blocks::<1>::new(1, false).find(None, &|_| false), Ok(None));
    }
}
