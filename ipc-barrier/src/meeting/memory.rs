//! What both sides map: a word of the page lane for each direction, and a place for each side's
//! reason. A side is meant by its index, see [`Role`](super::role::Role).

use core::sync::atomic::{AtomicU32, Ordering};

use ipc_frame::Text;
use ipc_transport::{Errno, SharedPage};
use rustix::fd::OwnedFd;

use crate::process::{NAME, Reason, TEXT};

/// Where the places begin: on the second cache line. The words that are added to share the first:
/// a side takes a token and gives one while it has that line, which so travels there and back once
/// in a round, not twice.
const PLACES: usize = 16;
/// Words of one side's place: a mark, the number, and both texts, with a byte in each word and a
/// zero after each text; rounded up to whole cache lines.
const PLACE: usize = (4 + NAME + TEXT).next_multiple_of(16);
pub(crate) const WORDS: usize = PLACES + 2 * PLACE;
const WRITTEN: u32 = 1;

/// The memory of a barrier. Whatever the peer may have written in it is input.
#[derive(Debug)]
pub struct Memory {
    pub(crate) page: SharedPage,
    /// The file that the memory is of, where it has to outlive an exec.
    pub(crate) file: Option<OwnedFd>,
}

impl Memory {
    /// The place for a side's reason.
    fn place(&self, of: usize) -> &[AtomicU32] {
        let start = PLACES + of * PLACE;
        self.page.words().get(start..start + PLACE).unwrap_or_default()
    }

    /// Leaves a side's reason, which the other can read after the writer's death. The abort is
    /// posted after it, so the side that sees the abort reads all of the reason; the mark's release
    /// pairs with the acquire in [`reason`](Self::reason).
    pub(crate) fn leave(&self, of: usize, reason: &Reason) {
        let [mark, errno, rest @ ..] = self.place(of) else {
            return;
        };
        errno.store(reason.errno.0.cast_unsigned(), Ordering::Relaxed);
        // A zero ends each of the two, so there is none within.
        let [stage, text] = [reason.stage.as_str(), reason.text.as_str()]
            .map(|text| text.bytes().filter(|&byte| byte != 0));
        for (word, byte) in rest.iter().zip(stage.chain([0]).chain(text).chain([0])) {
            word.store(byte.into(), Ordering::Relaxed);
        }
        mark.store(WRITTEN, Ordering::Release);
    }

    /// Reads a side's reason. Whatever the peer wrote, the result is well formed.
    pub(crate) fn reason(&self, of: usize) -> Option<Reason> {
        let (errno, rest) = match self.place(of) {
            [mark, errno, rest @ ..] if mark.load(Ordering::Acquire) == WRITTEN => (errno, rest),
            _ => return None,
        };
        let errno = Errno(errno.load(Ordering::Relaxed).cast_signed());
        let mut bytes = [0; NAME + TEXT + 2];
        for (byte, word) in bytes.iter_mut().zip(rest) {
            *byte = u8::try_from(word.load(Ordering::Relaxed)).unwrap_or(0);
        }
        let mut texts = bytes.split(|&byte| byte == 0);
        let stage = Text::from_bytes(texts.next().unwrap_or_default());
        let text = Text::from_bytes(texts.next().unwrap_or_default());
        Some(Reason { stage, errno, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        Memory { page: SharedPage::new(WORDS).unwrap(), file: None }
    }

    #[test]
    fn a_reason_is_read_as_written() {
        let memory = memory();
        assert_eq!(memory.reason(0), None);
        for stage in ["", "a", "ünï", "a name of twenty one"] {
            let long = "x".repeat(TEXT);
            for (errno, text) in [(-1, "pivot_root of ünï"), (i32::MAX, ""), (0, long.as_str())] {
                for of in [1, 0] {
                    let reason = Reason::new(stage, Errno(errno), text);
                    memory.leave(of, &reason);
                    assert_eq!(memory.reason(of), Some(reason));
                }
            }
        }
    }

    #[test]
    fn whatever_the_peer_wrote_reading_it_is_harmless() {
        for value in [u32::MAX, 0x0000_00ff, 0x6161_6161, 0x61] {
            let memory = memory();
            for word in memory.page.words() {
                word.store(value, Ordering::Relaxed);
            }
            assert_eq!(memory.reason(0), None, "the mark is not ours");
            memory.place(0)[0].store(WRITTEN, Ordering::Relaxed);
            let reason = memory.reason(0).unwrap();
            assert_eq!(reason.errno.0, value.cast_signed());
            assert_eq!(reason.stage.as_str().contains('a'), value == 0x61);
        }
    }
}
