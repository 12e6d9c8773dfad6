//! What both sides map: a word of the page lane for each direction, and a place for each side's
//! reason. A side is meant by its index, see [`Role`](super::end::Role). Whatever the peer may have
//! written is input.

use core::sync::atomic::Ordering;

use super::atomic::AtomicU32;
use crate::process::{REASON, Reason};

/// Where the places begin: on the second cache line. The words that are added to share the first:
/// a side takes a token and gives one while it has that line, which so travels there and back once
/// in a round, not twice.
const PLACES: usize = 16;
/// Words of one side's place: a mark, and the reason with a byte in each word; rounded up to whole
/// cache lines.
const PLACE: usize = (1 + REASON).next_multiple_of(16);
pub(crate) const WORDS: usize = PLACES + 2 * PLACE;
const WRITTEN: u32 = 1;

/// The place for a side's reason.
fn place(page: &[AtomicU32], of: usize) -> &[AtomicU32] {
    let start = PLACES + of * PLACE;
    page.get(start..start + PLACE).unwrap_or_default()
}

/// Leaves a side's reason, which the other can read after the writer's death. The abort is posted
/// after it, so the side that sees the abort reads all of the reason; the mark's release pairs with
/// the acquire in [`reason`].
pub(crate) fn leave(page: &[AtomicU32], of: usize, reason: &Reason) {
    let [mark, rest @ ..] = place(page, of) else {
        return;
    };
    for (word, byte) in rest.iter().zip(reason.to_bytes()) {
        word.store(byte.into(), Ordering::Relaxed);
    }
    mark.store(WRITTEN, Ordering::Release);
}

/// Reads a side's reason. Whatever the peer wrote, the result is well formed.
pub(crate) fn reason(page: &[AtomicU32], of: usize) -> Option<Reason> {
    let (mark, rest) = place(page, of).split_first()?;
    if mark.load(Ordering::Acquire) != WRITTEN {
        return None;
    }
    let mut bytes = [0; REASON];
    for (byte, word) in bytes.iter_mut().zip(rest) {
        *byte = u8::try_from(word.load(Ordering::Relaxed)).unwrap_or(0);
    }
    Some(Reason::from_bytes(&bytes))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use ipc_transport::{Errno, SharedPage};

    use super::*;

    fn memory() -> SharedPage {
        SharedPage::new(WORDS).unwrap()
    }

    #[test]
    fn a_reason_is_read_as_written() {
        let memory = memory();
        assert_eq!(reason(memory.words(), 0), None);
        for stage in ["", "a", "ünï", "a name of twenty one"] {
            let long = "x".repeat(48);
            for (errno, text) in [(-1, "pivot_root of ünï"), (i32::MAX, ""), (0, long.as_str())] {
                for of in [1, 0] {
                    let reason = Reason::new(stage, Errno(errno), text);
                    leave(memory.words(), of, &reason);
                    assert_eq!(super::reason(memory.words(), of), Some(reason));
                }
            }
        }
    }

    #[test]
    fn whatever_the_peer_wrote_reading_it_is_harmless() {
        for value in [u32::MAX, 0x0000_00ff, 0x6161_6161, 0x61] {
            let memory = memory();
            for word in memory.words() {
                word.store(value, Ordering::Relaxed);
            }
            assert_eq!(reason(memory.words(), 0), None, "the mark is not ours");
            place(memory.words(), 0)[0].store(WRITTEN, Ordering::Relaxed);
            let reason = reason(memory.words(), 0).unwrap();
            assert_eq!(reason.stage.as_str().contains('a'), value == 0x61);
        }
    }
}
