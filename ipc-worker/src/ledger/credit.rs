//! How many notes a worker may send, counted in shared words.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The words of a credit: notes taken, their bytes, notes dropped.
pub(crate) type CreditWords = [AtomicU32; WORDS];
pub(super) const WORDS: usize = 3;

/// The credit of one worker's notes. In shared words, main counts the notes and bytes that it has
/// taken, and the worker counts the notes that it has dropped. All counts wrap. Each side treats
/// the other's counts as hints: a lie costs only notes. Without shared words, no note may be sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Credit<'page>(pub(crate) Option<&'page CreditWords>);

/// Notes and their bytes, counted since a worker's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) notes: u32,
    pub(crate) bytes: u32,
}

impl Credit<'_> {
    /// Counts a note that main has taken.
    pub(crate) fn take(self, len: u32) {
        if let Self(Some([notes, bytes, _])) = self {
            notes.fetch_add(1, Relaxed);
            bytes.fetch_add(len, Relaxed);
        }
    }

    /// Returns whether the worker may have sent this much in total: at most `most` of it is not
    /// taken yet.
    pub(crate) fn allows(self, sent: Count, most: Count) -> bool {
        self.0.is_some_and(|[notes, bytes, _]| {
            sent.notes.wrapping_sub(notes.load(Relaxed)) <= most.notes
                && sent.bytes.wrapping_sub(bytes.load(Relaxed)) <= most.bytes
        })
    }

    /// Counts a note that the worker has dropped.
    pub(crate) fn drop_one(self) {
        if let Self(Some([.., dropped])) = self {
            dropped.fetch_add(1, Relaxed);
        }
    }

    /// Returns how many notes the worker dropped, by its own count.
    pub(crate) fn dropped(self) -> u32 {
        self.0.map_or(0, |[.., dropped]| dropped.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Count = Count { notes: 2, bytes: 100 };

    fn sent(notes: u32, bytes: u32) -> Count {
        Count { notes, bytes }
    }

    #[test]
    fn a_credit_bounds_notes_and_bytes_that_are_not_taken() {
        let words = [0, 0, 0].map(AtomicU32::new);
        let credit = Credit(Some(&words));
        assert!(credit.allows(sent(2, 100), MOST));
        assert!(!credit.allows(sent(3, 100), MOST) && !credit.allows(sent(2, 101), MOST));
        credit.take(60);
        assert!(credit.allows(sent(3, 160), MOST) && !credit.allows(sent(3, 161), MOST));
    }

    #[test]
    fn a_credit_goes_on_where_its_counts_wrap() {
        let words = [u32::MAX, u32::MAX - 9, 0].map(AtomicU32::new);
        let credit = Credit(Some(&words));
        assert!(credit.allows(sent(1, 90), MOST) && !credit.allows(sent(1, 91), MOST));
        credit.take(20);
        assert!(credit.allows(sent(2, 110), MOST) && !credit.allows(sent(2, 111), MOST));
    }

    #[test]
    fn a_lie_about_what_was_taken_allows_nothing() {
        let words = [7, 0, 0].map(AtomicU32::new);
        assert!(!Credit(Some(&words)).allows(sent(3, 0), MOST));
        assert!(!Credit::default().allows(sent(0, 0), MOST), "no page");
    }

    #[test]
    fn dropped_notes_are_counted() {
        let words = [0, 0, 0].map(AtomicU32::new);
        let credit = Credit(Some(&words));
        for dropped in 0..3 {
            assert_eq!(credit.dropped(), dropped);
            credit.drop_one();
        }
        assert_eq!(Credit::default().dropped(), 0, "no page");
    }
}
