//! The barrier's rules: what tokens, abortions and ends mean. No system call, no time.

use crate::lane::ABORTION;

/// How the peer has ended its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It said so, or its descriptors are broken.
    Aborted,
    /// It has exited or closed.
    Gone,
}

/// What a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// That my side is ahead by at most this many tokens.
    Ahead(i64),
    /// That the peer's part has ended.
    Abortion,
}

/// Where a wait stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Met,
    NotYet,
    Never,
}

/// One side's view: how far it is ahead, and who has aborted.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Tokens that I placed, less those of the peer that I have drained.
    ahead: i64,
    aborted: bool,
    peer: Option<Cause>,
}

impl Rules {
    pub(crate) const fn new() -> Self {
        Self { ahead: 0, aborted: false, peer: None }
    }

    /// Goes on from what another program left.
    pub(crate) const fn resume(ahead: i64, aborted: bool, peer: Option<Cause>) -> Self {
        Self { ahead, aborted, peer }
    }

    /// Tokens that I placed, less those of the peer that I have drained.
    pub(crate) const fn ahead(&self) -> i64 {
        self.ahead
    }

    /// Answers whether a token of mine may be posted: not after an abortion.
    #[inline]
    pub(crate) const fn is_open(&self) -> bool {
        !self.aborted && self.peer.is_none()
    }

    /// Counts a token of mine that was posted.
    #[inline]
    pub(crate) fn placed(&mut self) {
        self.ahead = self.ahead.saturating_add(1);
    }

    /// Answers whether an abortion of mine is to be posted: once.
    pub(crate) fn abort(&mut self) -> bool {
        !core::mem::replace(&mut self.aborted, true)
    }

    /// Takes note of a value drained from the peer's counter.
    #[inline]
    pub(crate) fn drained(&mut self, value: u64) {
        match i64::try_from(value) {
            // An abortion supersedes the tokens that were drained with it.
            _ if value >= ABORTION => self.peer = Some(Cause::Aborted),
            Ok(tokens) if self.is_open() => self.ahead = self.ahead.saturating_sub(tokens),
            _ => {}
        }
    }

    /// Takes note that the peer has exited or closed, after its counter was found empty.
    pub(crate) fn gone(&mut self) {
        self.peer.get_or_insert(Cause::Gone);
    }

    /// Takes note that the descriptors do not work: both sides count as aborted.
    pub(crate) fn broken(&mut self) {
        self.aborted = true;
        self.peer = Some(Cause::Aborted);
    }

    #[inline]
    pub(crate) const fn sync(&self) -> Goal {
        Goal::Ahead(0)
    }

    #[inline]
    pub(crate) fn sync_next(&self) -> Goal {
        Goal::Ahead(self.ahead.saturating_sub(1).max(0))
    }

    #[inline]
    pub(crate) const fn wait_next(&self) -> Goal {
        Goal::Ahead(self.ahead.saturating_sub(1))
    }

    #[inline]
    pub(crate) fn progress(&self, goal: Goal) -> Progress {
        match goal {
            Goal::Abortion if self.peer.is_some() => Progress::Met,
            Goal::Abortion => Progress::NotYet,
            Goal::Ahead(_) if !self.is_open() => Progress::Never,
            Goal::Ahead(limit) if self.ahead <= limit => Progress::Met,
            Goal::Ahead(_) => Progress::NotYet,
        }
    }

    pub(crate) const fn has_aborted(&self) -> bool {
        self.aborted
    }

    pub(crate) const fn peer(&self) -> Option<Cause> {
        self.peer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(placed: usize, drained: &[u64]) -> Rules {
        let mut rules = Rules::new();
        for _ in 0..placed {
            assert!(rules.is_open());
            rules.placed();
        }
        for &value in drained {
            rules.drained(value);
        }
        rules
    }

    #[test]
    fn sync_asks_for_an_answer_to_every_place() {
        assert_eq!(after(2, &[1]).progress(Goal::Ahead(0)), Progress::NotYet);
        assert_eq!(after(2, &[2]).progress(Goal::Ahead(0)), Progress::Met);
        assert_eq!(after(0, &[]).progress(Goal::Ahead(0)), Progress::Met);
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
        assert_eq!(rules.progress(goal), Progress::NotYet);
    }

    #[test]
    fn abortion_supersedes_tokens_drained_with_it() {
        let rules = after(2, &[ABORTION + 2]);
        assert_eq!(rules.progress(Goal::Ahead(0)), Progress::Never);
        assert_eq!(rules.progress(Goal::Abortion), Progress::Met);
    }

    #[test]
    fn an_end_after_an_abortion_stays_an_abortion() {
        let mut rules = after(0, &[ABORTION]);
        rules.gone();
        assert_eq!(rules.peer(), Some(Cause::Aborted));
    }

    #[test]
    fn my_abortion_is_posted_once_and_stops_my_places() {
        let mut rules = after(0, &[]);
        assert!(rules.abort());
        assert!(!rules.abort());
        assert!(!rules.is_open());
        assert_eq!(rules.progress(Goal::Ahead(5)), Progress::Never);
        assert_eq!(rules.progress(Goal::Abortion), Progress::NotYet);
    }
}
