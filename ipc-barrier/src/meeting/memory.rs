//! The memory that both sides map: a word for each direction (for the lane `Page`), and a place for
//! each side's reason. A side is given by its index; see [`Role`](super::end::Role). Everything in
//! it is untrusted input.

use core::sync::atomic::Ordering;

use super::atomic::AtomicU32;
use crate::process::{REASON, Reason};

/// Where the places begin: on the second cache line. Both directions' words share the first line. A
/// side that takes a token and places one needs only this line, so the line moves once in each
/// direction per round, not twice.
const PLACES: usize = 16;
/// Words of one side's place: a mark, then the reason with one byte per word. Rounded up to whole
/// cache lines.
const PLACE: usize = (1 + REASON).next_multiple_of(16);
pub(crate) const WORDS: usize = PLACES + 2 * PLACE;
const WRITTEN: u32 = 1;

/// The place for a side's reason.
fn place(page: &[AtomicU32], of: usize) -> &[AtomicU32] {
    let start = PLACES + of * PLACE;
    page.get(start..start + PLACE).unwrap_or_default()
}

/// Writes a side's reason. The other side can read it even after the writer's death. The abort is
/// posted afterwards, so a side that sees the abort reads the whole reason. The mark's release
/// pairs with the acquire in [`reason`].
pub(crate) fn leave(page: &[AtomicU32], of: usize, reason: &Reason) {
    let [mark, rest @ ..] = place(page, of) else {
        return;
    };
    for (word, byte) in rest.iter().zip(reason.to_bytes()) {
        word.store(byte.into(), Ordering::Relaxed);
    }
    mark.store(WRITTEN, Ordering::Release);
}

/// Reads a side's reason. It is well formed, whatever the peer wrote.
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
    fn reading_is_harmless_whatever_the_peer_wrote() {
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
