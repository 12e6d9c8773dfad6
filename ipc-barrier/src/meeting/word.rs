//! A word that one side adds to and the other takes from, and that says whether that one sleeps. No
//! system call.

use core::sync::atomic::Ordering;

use super::atomic::AtomicU32;
use super::rules::ABORT;

/// The peer has aborted.
const ABORTED: u32 = 1 << 31;
/// The reader is about to sleep and wants the bell to be rung.
pub(crate) const ASLEEP: u32 = 1 << 30;
/// The bits that count tokens which were not taken; the most there can be.
pub(crate) const TOKENS: u32 = ASLEEP - 1;

/// What became of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// One more token does not fit.
    Full,
    /// The other side finds it when it looks.
    Quietly,
    /// The other side is to be woken.
    ToSleeper,
}

/// Posts a [`TOKEN`](super::rules::TOKEN) or an [`ABORT`].
#[inline]
pub(crate) fn post(word: &AtomicU32, value: u64) -> Posted {
    // Release: the side that takes the post sees what was written before it.
    let found = word.load(Ordering::Relaxed);
    let wake = || word.compare_exchange(ASLEEP, 1, Ordering::AcqRel, Ordering::Relaxed);
    let before = match value {
        ABORT => word.fetch_or(ABORTED, Ordering::AcqRel),
        // One step where the other side sleeps, as it mostly does in a wait.
        _ if found == ASLEEP && wake().is_ok() => return Posted::ToSleeper,
        // Nobody else adds, so there is still room when this adds.
        _ if found & TOKENS == TOKENS => return Posted::Full,
        _ => word.fetch_add(1, Ordering::AcqRel),
    };
    // The side that takes the mark away rings, so one mark is at most one ring.
    if before & ASLEEP != 0 && word.fetch_and(!ASLEEP, Ordering::AcqRel) & ASLEEP != 0 {
        return Posted::ToSleeper;
    }
    Posted::Quietly
}

/// Takes everything that was posted, which may be nothing.
#[inline]
pub(crate) fn take(word: &AtomicU32) -> u64 {
    // A swap takes the cache line from the peer, so look before.
    if word.load(Ordering::Relaxed) & !ASLEEP == 0 {
        return 0;
    }
    // Acquire, to see what the peer wrote before it posted.
    let taken = word.swap(0, Ordering::AcqRel);
    u64::from(taken & TOKENS) + if taken & ABORTED == 0 { 0 } else { ABORT }
}

/// Marks this side as asleep. Returns false where something was posted already.
#[inline]
pub(crate) fn arm(word: &AtomicU32) -> bool {
    // Only an empty word is marked, in one step with the look at it: no post comes between.
    let marked = word.compare_exchange(0, ASLEEP, Ordering::AcqRel, Ordering::Relaxed);
    matches!(marked, Ok(_) | Err(ASLEEP))
}
