//! Blocks of shared memory for large payloads, which main lends to requests. The launch's type says
//! whether there are any.

use core::fmt;

use ipc_frame::FrameNumber;
use ipc_transport::{SharedBytes, SharedPage, SystemError};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use crate::call::Why;
use crate::ledger::{Arena, Block, Ending, Geometry, Hold, How, PAGE, RequestId, UnderWay};
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
    /// `holds` returns true keep their blocks. A block that a handler of the last worker held is
    /// free, or, unless that process is gone, kept until [`all_gone`](Self::all_gone).
    #[doc(hidden)]
    fn begin(
        &mut self,
        _slots: usize,
        _is_alone: bool,
        _holds: &dyn Fn(RequestId) -> bool,
    ) -> Result<(), SystemError> {
        Ok(())
    }

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
    fn lend(
        &mut self,
        _block: Option<usize>,
        _payload: Option<&[&[u8]]>,
        _request: Option<&UnderWay>,
    ) {
    }

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
    geometry: Geometry,
    /// The worker does not inherit the mapping and gets a file instead.
    by_file: bool,
    mapped: Option<(SharedPage, Option<OwnedFd>)>,
    blocks: [State; N],
    /// Blocks in use by a process that was killed and may still exist.
    stale: [bool; N],
}

/// Which request has a block.
#[derive(Clone, Copy, Debug)]
enum State {
    Free,
    Lent(Lent),
    /// Its request was given up while its handler may have run. The shared words tell whether it
    /// still does.
    GivenUp,
}

/// A request with a block.
#[derive(Clone, Copy, Debug)]
struct Lent {
    id: RequestId,
    frame: FrameNumber,
    /// It has no outcome that frees the block.
    is_one_way: bool,
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
        let (blocks, stale) = ([State::Free; N], [false; N]);
        Self { geometry, by_file, mapped: None, blocks, stale }
    }

    fn arena(&self) -> Arena<'_> {
        let words = self.mapped.as_ref().map_or(&[][..], |(page, _)| page.words());
        Arena { words, geometry: self.geometry }
    }

    /// Bytes of a block, which saturate.
    const fn capacity(&self) -> usize {
        self.geometry.words_each.saturating_mul(size_of::<u32>())
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
            // The words hold lengths in bytes.
            if u32::try_from(self.capacity()).is_err() {
                return Err(SystemError::of("Start::blocks")(Errno::INVAL));
            }
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
        let (mut blocks, mut stale) = (self.blocks, self.stale);
        for (number, (state, stale)) in blocks.iter_mut().zip(&mut stale).enumerate() {
            let Some(block) = arena.block(number) else { continue };
            let Some(hold) = block.hold() else { continue };
            *stale = !is_alone && (*stale || !hold.is_free());
            hold.release();
            match state {
                State::Lent(lent) if holds(lent.id) => {
                    block.begin(lent.len);
                    arena.assign(lent.id.slot(), Some(number));
                }
                // A request that has ended keeps its payload until that is told.
                State::Lent(lent) if !lent.is_one_way => {}
                _ => *state = State::Free,
            }
        }
        (self.blocks, self.stale) = (blocks, stale);
        Ok(())
    }

    fn view(&self) -> Arena<'_> {
        self.arena()
    }

    fn all_gone(&mut self) -> bool {
        let had_any = self.stale.contains(&true);
        self.stale = [false; N];
        had_any
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
        let (len, capacity) = (Self::len(payload), self.capacity());
        if len > capacity {
            return Err(Why::TooLong { len, capacity });
        }
        let arena = self.arena();
        let is_free = |number| {
            let hold = arena.block(number).and_then(|block| block.hold());
            hold.is_some_and(Hold::is_free)
        };
        let states = self.blocks.iter().zip(&self.stale).enumerate();
        let mut free = states.filter(|(number, (state, stale))| match state {
            _ if **stale => false,
            State::Free => true,
            State::Lent(lent) => lent.is_one_way && !holds(lent.id),
            State::GivenUp => is_free(*number),
        });
        let found = free.next().map(|(number, _)| number);
        found.map(Some).ok_or(Why::Full)
    }

    fn lend(
        &mut self,
        block: Option<usize>,
        payload: Option<&[&[u8]]>,
        request: Option<&UnderWay>,
    ) {
        let arena = self.arena();
        let Some(&UnderWay { id, frame, is_one_way, .. }) = request else { return };
        arena.assign(id.slot(), block);
        let Some((number, payload)) = block.zip(payload) else { return };
        let Some(block) = arena.block(number) else { return };
        let mut len = 0;
        for piece in payload {
            len += block.space().write_at(len, piece);
        }
        block.begin(len);
        if let Some(state) = self.blocks.get_mut(number) {
            *state = State::Lent(Lent { id, frame, is_one_way, len });
        }
    }

    fn take_back(&mut self, frame: FrameNumber, ending: Ending) -> Option<SharedBytes<'_>> {
        let mut states = self.blocks.iter_mut().enumerate();
        let (number, state, len) = states.find_map(|(number, state)| match *state {
            State::Lent(lent) if lent.frame == frame => Some((number, state, lent.len)),
            _ => None,
        })?;
        // What it holds stays as it is until another request is lent the block, after this event.
        let is_given_up = match ending {
            Ending::Cancelled(how) | Ending::DeadlinePassed(how) => how > How::NotBegun,
            _ => false,
        };
        *state = if is_given_up { State::GivenUp } else { State::Free };
        let block = self.arena().block(number)?;
        match ending {
            Ending::Replied => Some(block.replied()),
            Ending::Lost(_) | Ending::SetAside(_) => Some(block.first(len)),
            _ => None,
        }
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
    use core::time::Duration;
    use std::collections::HashMap;

    use ipc_frame::{Header, Queue};
    use ipc_transport::Instant;

    use core::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::ledger::Again;

    const SLOTS: usize = 5;

    fn id(slot: u64, generation: u64) -> RequestId {
        RequestId::from_wire(slot | generation << u32::BITS).unwrap()
    }

    /// Requests that were accepted, each with its own frame.
    struct Requests(Queue<64, 1>);

    impl Requests {
        fn next(&mut self, id: RequestId, is_one_way: bool) -> UnderWay {
            let frame = self.0.push(Header::request(1, id.to_wire()), &[]).unwrap();
            self.0.retire(frame);
            UnderWay {
                id,
                frame,
                deadline: Instant::NEVER,
                again: Again::IfNotBegun,
                tries: 1,
                time_limit: Duration::MAX,
                begun: 0,
                reached: How::NotBegun,
                reply_fds: 0,
                is_one_way,
                is_late: false,
                is_first: false,
            }
        }
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
        frame: FrameNumber,
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
        let (mut numbers, mut full, mut requests) = (Numbers(1), 0, Requests(Queue::new()));
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
                    let request = requests.next(id(slot, *generation), false);
                    let frame = request.frame;
                    blocks.lend(Some(block), Some(payload), Some(&request));
                    let new = Asked { block, frame, filler, is_under_way: true, runs: false };
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
                        let is_cancelled = asked_of.runs || numbers.below(2) == 0;
                        let how = if asked_of.runs { How::Running } else { How::NotBegun };
                        let ending =
                            if is_cancelled { Ending::Cancelled(how) } else { Ending::Replied };
                        assert_eq!(
                            blocks.take_back(asked_of.frame, ending).is_some(),
                            !is_cancelled
                        );
                        if !asked_of.runs {
                            asked.remove(&wire);
                        }
                    }
                }
                // The worker dies after it has written arbitrary values.
                5 if step % 10 == 0 => {
                    let words = blocks.arena().words.iter().take(PAGE);
                    words.for_each(|word| {
                        word.store(u32::try_from(step).unwrap(), Relaxed);
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

    fn free<const N: usize>(blocks: &Blocks<N>) -> Option<usize> {
        blocks.find(Some(&[]), &|_| false).ok().flatten()
    }

    fn hold<const N: usize>(blocks: &Blocks<N>, number: usize) -> Hold<'_> {
        blocks.arena().block(number).unwrap().hold().unwrap()
    }

    #[test]
    fn what_a_killed_process_used_is_not_lent_before_it_is_gone() {
        let mut requests = Requests(Queue::new());
        let mut blocks = Blocks::<2>::new(1, false);
        blocks.begin(1, true, &|_| false).unwrap();
        // Sent again to the next worker, which answers; the process before it has not ended.
        let request = requests.next(id(0, 0), false);
        blocks.lend(Some(0), Some(&[]), Some(&request));
        hold(&blocks, 0).take();
        blocks.begin(1, false, &|_| true).unwrap();
        hold(&blocks, 0).take();
        hold(&blocks, 0).release();
        assert!(blocks.take_back(request.frame, Ending::Replied).is_some());
        assert_eq!(free(&blocks), Some(1));
        assert!(blocks.all_gone() && !blocks.all_gone());
        assert_eq!(free(&blocks), Some(0));
    }

    #[test]
    fn only_the_block_of_a_request_that_was_given_up_waits_for_its_handler() {
        let mut requests = Requests(Queue::new());
        let mut blocks = Blocks::<1>::new(1, false);
        blocks.begin(1, true, &|_| false).unwrap();
        let endings = [
            (Ending::Replied, false),
            (Ending::Refused, false),
            (Ending::Cancelled(How::NotBegun), false),
            (Ending::Cancelled(How::Running), true),
            (Ending::DeadlinePassed(How::Done), true),
        ];
        for (generation, (ending, is_given_up)) in (0..).zip(endings) {
            let request = requests.next(id(0, generation), false);
            blocks.lend(Some(0), Some(&[]), Some(&request));
            assert_eq!(free(&blocks), None, "its outcome is not told");
            hold(&blocks, 0).take();
            blocks.take_back(request.frame, ending);
            assert_eq!(free(&blocks), (!is_given_up).then_some(0), "{ending:?}");
            hold(&blocks, 0).release();
            assert_eq!(free(&blocks), Some(0));
        }
        let one_way = requests.next(id(0, 9), true);
        blocks.lend(Some(0), Some(&[]), Some(&one_way));
        assert_eq!(blocks.find(Some(&[]), &|_| true), Err(Why::Full));
        assert_eq!(free(&blocks), Some(0), "it is done");
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
        for len in [usize::MAX, usize::MAX / 2, usize::try_from(u32::MAX).unwrap()] {
            let mut huge = Blocks::<4>::new(len, false);
            assert!(huge.begin(1, true, &|_| false).is_err());
        }
        assert_eq!(Blocks::<1>::new(1, false).find(None, &|_| false), Ok(None));
    }
}
