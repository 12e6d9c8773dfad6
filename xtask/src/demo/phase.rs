//! The phases of the demo, and what each does to the worker.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How often the worker is killed.
pub(crate) const KILLS: u64 = 5;

/// A stretch of load under one condition: a column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Phase {
    InLine,
    Worker,
    Killed,
    Stopped,
}

impl Phase {
    pub(crate) const ALL: [Self; 4] = [Self::InLine, Self::Worker, Self::Killed, Self::Stopped];

    /// Its name in messages, live lines and the JSON file.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::InLine => "in-line",
            Self::Worker => "worker",
            Self::Killed => "killed",
            Self::Stopped => "stopped",
        }
    }

    /// The two lines above its column.
    pub(crate) fn title(self) -> [&'static str; 2] {
        match self {
            Self::InLine => ["", "inline"],
            Self::Worker => ["", "worker"],
            Self::Killed => ["worker,", "killed 5 times"],
            Self::Stopped => ["worker,", "stopped 2 s"],
        }
    }

    pub(crate) fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.key() == key)
    }
}

/// An act on the worker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Kill,
    Stop,
    Continue,
}

/// A phase, its length, and the times of the acts on the worker.
pub(crate) struct Plan {
    pub(crate) phase: Phase,
    pub(crate) seconds: u64,
    /// The time since the start of the phase, in order.
    acts: Vec<(Duration, Act)>,
}

impl Plan {
    /// Only load.
    pub(crate) fn steady(phase: Phase, seconds: u64) -> Self {
        Self { phase, seconds, acts: Vec::new() }
    }

    /// Repeated SIGKILL, each at another moment of the disk's period of 250 ms.
    pub(crate) fn kills() -> Self {
        let when = |number| Duration::from_millis(1000 + 1500 * number + 140 * number % 250);
        let acts = (0..KILLS).map(|number| (when(number), Act::Kill)).collect();
        Self { phase: Phase::Killed, seconds: 10, acts }
    }

    /// Returns the acts on the worker, each with its time, in a phase that starts at `start`.
    pub(crate) fn acts_from(&self, start: Instant) -> VecDeque<(Instant, Act)> {
        self.acts.iter().map(|&(when, act)| (start + when, act)).collect()
    }

    /// SIGSTOP for 2 s, then time to catch up.
    pub(crate) fn stopped() -> Self {
        let acts =
            vec![(Duration::from_secs(1), Act::Stop), (Duration::from_secs(3), Act::Continue)];
        Self { phase: Phase::Stopped, seconds: 7, acts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_names_its_phase() {
        for phase in Phase::ALL {
            assert_eq!(Phase::from_key(phase.key()), Some(phase));
        }
        assert_eq!(Phase::from_key("work"), None);
    }

    #[test]
    fn acts_are_in_order_and_leave_time_to_recover() {
        for plan in [Plan::kills(), Plan::stopped()] {
            assert!(plan.acts.is_sorted_by_key(|(when, _)| *when));
            let (last, _) = plan.acts.last().unwrap();
            assert!(*last + Duration::from_secs(1) < Duration::from_secs(plan.seconds));
        }
    }
}
