//! The goals that the design sets for a row.

use std::fmt;

use super::plan::{Floor, Level, Plan, Subject, With, Work};
use super::row::Row;
use super::sample::Figures;

/// A limit for a row's ratio, or for its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// The subject takes at most this multiple of the floor's time.
    AtMost(f64),
    /// The subject reaches at least this multiple of the floor's throughput.
    AtLeast(f64),
}

impl Goal {
    /// Returns the goal for a row's ratio, if it has one.
    pub fn of(plan: &Plan) -> Option<Self> {
        let Plan { work, subject, level, size, fds, cpus, floor, .. } = *plan;
        // The default lane, relative to the other one: a futex's share depends on the machine.
        if subject == Subject::Page {
            return match (work, floor, cpus) {
                (Work::PingPong(With::Nothing), Floor::Eventfd, 1) => Some(Self::AtMost(0.75)),
                (Work::PingPong(_), Floor::Eventfd, 1) => Some(Self::AtMost(1.0)),
                _ => None,
            };
        }
        match (work, level, floor, cpus) {
            (Work::RoundTrip, Level::Transport, Floor::Spinning, 2) => Some(Self::AtMost(1.3)),
            _ if size != 64 || fds != 0 || cpus != 1 => None,
            (Work::RoundTrip, Level::Transport, Floor::Calls, _) => Some(Self::AtMost(1.05)),
            (Work::RoundTrip, Level::Worker, Floor::Calls, _) => Some(Self::AtMost(1.15)),
            (Work::InFlight, _, Floor::Unbatched, _) => Some(Self::AtLeast(8.0)),
            _ => None,
        }
    }

    /// Returns whether the figures meet the goal.
    pub fn is_met(self, figures: &Figures) -> bool {
        match self {
            Self::AtMost(limit) => figures.ratio <= limit,
            Self::AtLeast(limit) => figures.ratio >= limit,
        }
    }

    /// Returns the most system calls per operation that the row allows, both sides together.
    pub fn syscalls(plan: &Plan) -> Option<f64> {
        let Plan { work, subject, fds, spin, .. } = *plan;
        if subject.is_bare() || fds != 0 || spin {
            return None;
        }
        match work {
            Work::RoundTrip if plan.size == 64 => Some(4.0),
            Work::PollLoop if plan.size == 64 => Some(5.0),
            _ => None,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "≤ {limit:.2}"),
            Self::AtLeast(limit) => write!(f, "≥ {limit:.0}"),
        }
    }
}

/// Returns the goals that a row misses, in words; empty if it meets all. Returns `None` for a row
/// whose only goal is to allocate nothing, if it meets that one.
pub fn judge(row: &Row) -> Option<Vec<String>> {
    /// What checking the worker's process every 10 ms may add to each operation.
    const SLACK: f64 = 0.05;
    if row.plan.subject.is_bare() {
        return None;
    }
    let mut missed = Vec::new();
    if let Some(goal) = Goal::of(&row.plan).filter(|goal| !goal.is_met(&row.figures)) {
        missed.push(format!("ratio {:.3}, goal {goal}", row.figures.ratio));
    }
    let most = Goal::syscalls(&row.plan);
    if let (Some(most), Some(calls)) = (most, row.syscalls) {
        if calls > most + SLACK {
            missed.push(format!("{calls:.2} system calls, goal {most}"));
        }
    }
    if row.allocations > 0.0 {
        missed.push(format!("{:.2} allocations, goal 0", row.allocations));
    }
    let has_goals = most.is_some() || Goal::of(&row.plan).is_some();
    Some(missed).filter(|missed| has_goals || !missed.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(level: Level, work: Work, floor: Floor) -> Plan {
        let (subject, size, fds, cpus, spin) = (Subject::Stream, 64, 0, 1, false);
        Plan { work, subject, level, size, fds, cpus, spin, floor }
    }

    #[test]
    fn goals_are_those_of_the_design() {
        let round_trip = plan(Level::Transport, Work::RoundTrip, Floor::Calls);
        assert_eq!(Goal::of(&round_trip), Some(Goal::AtMost(1.05)));
        assert_eq!(Goal::of(&Plan { size: 4096, ..round_trip }), None);
        assert_eq!(Goal::of(&Plan { cpus: 2, ..round_trip }), None);
        let worker = plan(Level::Worker, Work::RoundTrip, Floor::Calls);
        assert_eq!(Goal::of(&worker), Some(Goal::AtMost(1.15)));
        let in_flight = plan(Level::Worker, Work::InFlight, Floor::Unbatched);
        assert_eq!(Goal::of(&in_flight), Some(Goal::AtLeast(8.0)));
        assert_eq!(Goal::of(&Plan { floor: Floor::Batched, ..in_flight }), None);
        let page = Plan {
            subject: Subject::Page,
            size: 0,
            ..plan(Level::Barrier, Work::PingPong(With::Nothing), Floor::Futex)
        };
        assert_eq!(Goal::of(&page), None, "relative to a futex it is only reported");
        let beside_a_lane = Plan { floor: Floor::Eventfd, ..page };
        assert_eq!(Goal::of(&beside_a_lane), Some(Goal::AtMost(0.75)));
        let with_pidfd = Plan { work: Work::PingPong(With::Pidfd), ..beside_a_lane };
        assert_eq!(Goal::of(&with_pidfd), Some(Goal::AtMost(1.0)));
        assert_eq!(Goal::of(&Plan { subject: Subject::Eventfd, ..page }), None);
        assert_eq!(Goal::syscalls(&worker), Some(4.0));
        assert_eq!(Goal::syscalls(&Plan { work: Work::PollLoop, ..worker }), Some(5.0));
    }

    #[test]
    fn a_missed_goal_is_told_with_its_numbers() {
        let plan = plan(Level::Worker, Work::RoundTrip, Floor::Calls);
        let mut row =
            Row { plan, figures: Default::default(), syscalls: Some(4.0), allocations: 0.0 };
        row.figures.ratio = 1.15;
        assert_eq!(judge(&row), Some(vec![]));
        row.figures.ratio = 1.2;
        row.syscalls = Some(5.0);
        row.allocations = 1.0;
        let missed =
            ["ratio 1.200, goal ≤ 1.15", "5.00 system calls, goal 4", "1.00 allocations, goal 0"];
        assert_eq!(judge(&row), Some(missed.map(String::from).to_vec()));
        row.plan.size = 4096;
        assert_eq!(judge(&row), Some(vec![missed[2].into()]), "only that goal is for every row");
        row.allocations = 0.0;
        assert_eq!(judge(&row), None);
    }
}
