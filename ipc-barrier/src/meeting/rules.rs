//! The barrier's rules: the meaning of tokens, aborts and the peer's end. No system calls, no
//! clock.

use super::errors::{PeerAbort, Unmet};
use crate::process::Reason;

/// The value that is posted for a token.
pub(crate) const TOKEN: u64 = 1;

/// The value that is posted for an abort. Smaller drained values are numbers of tokens.
pub(crate) const ABORT: u64 = 1 << 62;

/// The value that is drained once the peer is gone: alone, and after everything else.
pub(crate) const GONE: u64 = 1 << 63;

/// The goal of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// This side is ahead by at most this many tokens.
    Ahead(i64),
    /// The peer has aborted or is gone.
    PeerAbort,
}

/// One side's view.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Tokens that this side placed, minus tokens of the peer that it drained.
    pub(crate) ahead: i64,
    pub(crate) has_aborted: bool,
    /// How the peer left, if it did.
    pub(crate) peer: Option<PeerAbort>,
}

impl Rules {
    pub(crate) const NEW: Self = Self { ahead: 0, has_aborted: false, peer: None };

    /// The goal of a sync: every token of this side has been answered.
    pub(crate) const SYNC: Goal = Goal::Ahead(0);

    /// Returns whether this side may post a token: no side has aborted, and the peer is not gone.
    #[inline]
    pub(crate) const fn is_open(&self) -> bool {
        !self.has_aborted && self.peer.is_none()
    }

    /// Counts a token that this side posted.
    #[inline]
    pub(crate) const fn placed(&mut self) {
        self.ahead = self.ahead.saturating_add(1);
    }

    /// Aborts this side. Returns whether to post the abort: only the first time.
    pub(crate) fn abort(&mut self) -> bool {
        !core::mem::replace(&mut self.has_aborted, true)
    }

    /// Notes a value drained from the peer. Reads the peer's reason if the value is an abort.
    #[inline]
    pub(crate) fn drained(&mut self, value: u64, reason: impl FnOnce() -> Option<Reason>) {
        match value {
            GONE => _ = self.peer.get_or_insert(PeerAbort::Gone),
            // An abort supersedes the tokens that were drained with it.
            ABORT.. => self.peer = Some(PeerAbort::Aborted(reason())),
            tokens => self.ahead = self.ahead.saturating_sub_unsigned(tokens),
        }
    }

    /// Notes that a descriptor does not work: both sides count as aborted.
    pub(crate) const fn broken(&mut self) {
        self.has_aborted = true;
        self.peer = Some(PeerAbort::Aborted(None));
    }

    #[inline]
    pub(crate) fn sync_next(&self) -> Goal {
        Goal::Ahead(self.ahead.saturating_sub(1).max(0))
    }

    #[inline]
    pub(crate) const fn wait_next(&self) -> Goal {
        Goal::Ahead(self.ahead.saturating_sub(1))
    }

    /// Returns whether a goal is met, or an error if it can never be met.
    #[inline]
    pub(crate) fn is_met(&self, goal: Goal) -> Result<bool, Unmet> {
        match goal {
            Goal::PeerAbort => Ok(self.peer.is_some()),
            Goal::Ahead(_) if !self.is_open() => Err(self.unmet()),
            Goal::Ahead(limit) => Ok(self.ahead <= limit),
        }
    }

    /// Why nothing more can be placed or met.
    pub(crate) fn unmet(&self) -> Unmet {
        match self.peer {
            Some(PeerAbort::Gone) if self.has_aborted => Unmet::Aborted(None),
            known => known.map_or(Unmet::Aborted(None), Unmet::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(placed: usize, drained: &[u64]) -> Rules {
        let mut rules = Rules::NEW;
        for _ in 0..placed {
            assert!(rules.is_open());
            rules.placed();
        }
        for &value in drained {
            rules.drained(value, || None);
        }
        rules
    }

    #[test]
    fn sync_asks_for_an_answer_to_every_place() {
        assert_eq!(after(2, &[1]).is_met(Goal::Ahead(0)), Ok(false));
        assert_eq!(after(2, &[2]).is_met(Goal::Ahead(0)), Ok(true));
        assert_eq!(after(0, &[]).is_met(Goal::Ahead(0)), Ok(true));
    }

    #[test]
    fn sync_next_asks_for_one_unless_level() {
        let rules = after(3, &[]);
        assert_eq!(rules.sync_next(), Goal::Ahead(2));
        assert_eq!(after(0, &[4]).sync_next(), Goal::Ahead(0));
    }

    #[test]
    fn wait_next_asks_for_a_new_token_whatever_is_placed() {
        let rules = after(1, &[3]);
        let goal = rules.wait_next();
        assert_eq!(rules.is_met(goal), Ok(false));
    }

    #[test]
    fn abort_supersedes_tokens_drained_with_it() {
        let rules = after(2, &[ABORT + 2]);
        assert_eq!(rules.is_met(Goal::Ahead(0)), Err(Unmet::Aborted(None)));
        assert_eq!(rules.is_met(Goal::PeerAbort), Ok(true));
    }

    #[test]
    fn an_end_after_an_abort_stays_an_abort() {
        let mut rules = after(0, &[ABORT]);
        rules.drained(GONE, || None);
        assert_eq!(rules.peer, Some(PeerAbort::Aborted(None)));
    }

    #[test]
    fn an_abort_is_posted_once_and_stops_placing() {
        let mut rules = after(0, &[]);
        assert!(rules.abort());
        assert!(!rules.abort());
        assert!(!rules.is_open());
        assert_eq!(rules.is_met(Goal::Ahead(5)), Err(Unmet::Aborted(None)));
        assert_eq!(rules.is_met(Goal::PeerAbort), Ok(false));
    }

    #[test]
    fn nothing_drained_changes_nothing() {
        let rules = after(1, &[0]);
        assert_eq!((rules.ahead, rules.peer), (1, None));
        const { assert!(0 < TOKEN && TOKEN < ABORT && ABORT < GONE) };
    }

    #[test]
    fn broken_descriptors_count_as_an_abort_of_both_sides() {
        let mut rules = after(1, &[]);
        rules.broken();
        assert!(!rules.abort(), "it cannot be posted");
        assert_eq!(rules.peer, Some(PeerAbort::Aborted(None)));
        assert_eq!(rules.is_met(Goal::Ahead(5)), Err(Unmet::Aborted(None)));
    }

    #[test]
    fn my_abort_hides_the_end_of_the_peer() {
        let mut rules = after(0, &[GONE]);
        assert_eq!(rules.unmet(), Unmet::Gone);
        rules.abort();
        assert_eq!(rules.unmet(), Unmet::Aborted(None));
    }
}
