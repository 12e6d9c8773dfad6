//! Main's account of blocks: which request has which, and which a handler may still use.

#[cfg(test)]
#[cfg(not(loom))]
mod tests;

use ipc_frame::FrameNumber;
use ipc_transport::SharedBytes;

use super::arena::{Arena, Hold};
use super::fate::{Ending, How, UnderWay};
use super::id::RequestId;

/// The account of `N` blocks. It trusts nothing in the shared words, except whether a handler still
/// uses the block of a request that was given up.
#[derive(Debug)]
pub(crate) struct Account<const N: usize> {
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

impl<const N: usize> Account<N> {
    pub(crate) const NEW: Self = Self { blocks: [State::Free; N], stale: [false; N] };

    /// Overwrites whatever the last worker left in the words. Requests for which `holds` returns
    /// true keep their blocks.
    pub(crate) fn begin(&mut self, arena: Arena<'_>, holds: &dyn Fn(RequestId) -> bool) {
        arena.describe();
        for slot in 0..u16::try_from(arena.geometry.slots).unwrap_or(u16::MAX) {
            arena.assign(slot, None);
        }
        for (number, state) in self.blocks.iter_mut().enumerate() {
            let Some(block) = arena.block(number) else { continue };
            _ = block.hold().map(Hold::release);
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
    }

    /// Ends what the handlers of a worker held that has just ended. Unless its process is gone,
    /// such a block is not lent again before [`all_gone`](Self::all_gone).
    pub(crate) fn bury(&mut self, arena: Arena<'_>, is_gone: bool) {
        for (number, stale) in self.stale.iter_mut().enumerate() {
            let Some(hold) = arena.block(number).and_then(|block| block.hold()) else { continue };
            *stale |= !is_gone && !hold.is_free();
            hold.release();
        }
    }

    /// Frees what killed processes held that are gone by now. Returns whether there was any.
    pub(crate) fn all_gone(&mut self) -> bool {
        let had_any = self.stale.contains(&true);
        self.stale = [false; N];
        had_any
    }

    /// Returns a free block.
    pub(crate) fn find(
        &self,
        arena: Arena<'_>,
        holds: &dyn Fn(RequestId) -> bool,
    ) -> Option<usize> {
        let is_unused = |number| arena.block(number)?.hold().map(Hold::is_free);
        let mut blocks = self.blocks.iter().zip(&self.stale).enumerate();
        let found = blocks.find(|(number, (state, stale))| {
            !**stale
                && match state {
                    State::Free => true,
                    State::Lent(lent) => lent.is_one_way && !holds(lent.id),
                    State::GivenUp => is_unused(*number) == Some(true),
                }
        });
        found.map(|(number, _)| number)
    }

    /// Lends the block, if any, to the request that was just accepted, and copies the payload into
    /// it.
    pub(crate) fn lend(
        &mut self,
        arena: Arena<'_>,
        block: Option<usize>,
        payload: &[&[u8]],
        request: &UnderWay,
    ) {
        let &UnderWay { id, frame, is_one_way, .. } = request;
        arena.assign(id.slot(), block);
        let Some(number) = block else { return };
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

    /// Takes the block back from a request whose outcome is told, and returns its contents: the
    /// reply, or the request's own payload if it is given back. They stay as they are until the
    /// block is lent again.
    pub(crate) fn take_back<'a>(
        &mut self,
        arena: Arena<'a>,
        frame: FrameNumber,
        ending: Ending,
    ) -> Option<SharedBytes<'a>> {
        let mut blocks = self.blocks.iter_mut().enumerate();
        let (number, state, lent) = blocks.find_map(|(number, state)| match *state {
            State::Lent(lent) if lent.frame == frame => Some((number, state, lent)),
            _ => None,
        })?;
        *state = match ending {
            Ending::Cancelled(how) | Ending::DeadlinePassed(how) if how > How::NotBegun => {
                State::GivenUp
            }
            _ => State::Free,
        };
        let block = arena.block(number)?;
        match ending {
            Ending::Replied => Some(block.replied()),
            Ending::Lost(_) | Ending::SetAside(_) => Some(block.first(lent.len)),
            _ => None,
        }
    }
}
