//! The word of one direction. The writer adds tokens, the reader takes them, and a mark in it says
//! whether the reader sleeps. No system calls.

use core::sync::atomic::Ordering;

use super::atomic::AtomicU32;
use super::rules::ABORT;

/// The writer has aborted.
const ABORTED: u32 = 1 << 31;
/// The reader is about to sleep, so the writer must ring the bell.
pub(crate) const ASLEEP: u32 = 1 << 30;
/// The bits that count unread tokens, and the most unread tokens.
pub(crate) const TOKENS: u32 = ASLEEP - 1;

/// The result of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// There is no room for another token.
    Full,
    /// The reader will find the post at its next look.
    Quietly,
    /// The reader must be woken.
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
        // One step if the reader sleeps, which is the usual case in a wait.
        _ if found == ASLEEP && wake().is_ok() => return Posted::ToSleeper,
        // Only this side adds, so the room found here cannot vanish.
        _ if found & TOKENS == TOKENS => return Posted::Full,
        _ => word.fetch_add(1, Ordering::AcqRel),
    };
    // The side that clears the mark rings, so one mark causes at most one ring.
    if before & ASLEEP != 0 && word.fetch_and(!ASLEEP, Ordering::AcqRel) & ASLEEP != 0 {
        return Posted::ToSleeper;
    }
    Posted::Quietly
}

/// Takes everything that was posted, perhaps nothing.
#[inline]
pub(crate) fn take(word: &AtomicU32) -> u64 {
    // A swap takes the cache line from the peer, so load first.
    if word.load(Ordering::Relaxed) & !ASLEEP == 0 {
        return 0;
    }
    // Acquire: see what the peer wrote before it posted.
    let taken = word.swap(0, Ordering::AcqRel);
    u64::from(taken & TOKENS) + if taken & ABORTED == 0 { 0 } else { ABORT }
}

/// Marks the reader as asleep. Returns false if something was already posted.
#[inline]
pub(crate) fn arm(word: &AtomicU32) -> bool {
    // One atomic step marks the word only if it is empty, so no post can come in between.
    let marked = word.compare_exchange(0, ASLEEP, Ordering::AcqRel, Ordering::Relaxed);
    matches!(marked, Ok(_) | Err(ASLEEP))
}
