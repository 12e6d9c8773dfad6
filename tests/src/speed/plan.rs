//! What is measured beside what: the list of rows.

use std::fmt;

/// Requests of one round of [`Work::InFlight`].
pub const BATCH: usize = 32;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// One request and its answer, both sides waiting in the receiving call.
    RoundTrip,
    /// The same from a loop that polls.
    PollLoop,
    /// 32 requests, then their 32 answers.
    InFlight,
}

/// What does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The floor itself, to show how much of a ratio is noise.
    Bare,
    /// The stream socketpair.
    Stream,
    /// The pair of sockets that keeps packets apart.
    Seqpacket,
}

/// Through which of the crates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// None.
    Bare,
    /// `Outbox` and `Inbox` over a socket.
    Transport,
    /// `Worker`.
    Worker,
}

/// The bare calls beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// `send`, and `recvmsg` with a control buffer, both waiting.
    Calls,
    /// `sendmsg` with `SCM_RIGHTS` of descriptors that are kept open; the peer closes them.
    Rights,
    /// 32 times `send`, then 32 times `recvmsg`.
    Unbatched,
    /// One `send` for all 32, `recvmsg` for as many as there are.
    Batched,
    /// As `Calls`, but both sides ask again and again before they wait.
    Spinning,
}

/// One row: what is measured, and beside what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is done.
    pub work: Work,
    /// What does it.
    pub subject: Subject,
    /// Through which of the crates.
    pub level: Level,
    /// Bytes of a request and of its answer, without any header.
    pub size: usize,
    /// Descriptors of a request.
    pub fds: usize,
    /// One processor for both processes, or one each.
    pub cpus: usize,
    /// Whether both sides ask again and again before they wait.
    pub spin: bool,
    /// The bare calls beside it.
    pub floor: Floor,
}

impl Plan {
    /// Returns all rows, those on one processor first.
    pub fn all() -> Vec<Self> {
        let mut plans = Vec::new();
        for cpus in [1, 2] {
            plans.push(Self::new(Work::RoundTrip, Subject::Bare, Level::Bare, cpus));
            for subject in [Subject::Stream, Subject::Seqpacket] {
                plans.extend(Self::of(subject, Level::Transport, cpus));
                // The worker's socket is the stream.
                if subject == Subject::Stream {
                    plans.extend(Self::of(subject, Level::Worker, cpus));
                }
            }
        }
        plans
    }

    fn of(subject: Subject, level: Level, cpus: usize) -> Vec<Self> {
        let round_trip = Self::new(Work::RoundTrip, subject, level, cpus);
        let sizes = [64, 4096, 65536];
        let mut plans: Vec<Self> = sizes.map(|size| Self { size, ..round_trip }).into();
        if level == Level::Worker {
            plans.extend(sizes.map(|size| Self { work: Work::PollLoop, size, ..round_trip }));
        }
        let in_flight = Self { work: Work::InFlight, ..round_trip };
        plans.extend([Floor::Unbatched, Floor::Batched].map(|floor| Self { floor, ..in_flight }));
        plans.extend([1, 8].map(|fds| Self { fds, floor: Floor::Rights, ..round_trip }));
        plans.push(Self { spin: true, floor: Floor::Spinning, ..round_trip });
        plans
    }

    const fn new(work: Work, subject: Subject, level: Level, cpus: usize) -> Self {
        let (size, fds, spin, floor) = (64, 0, false, Floor::Calls);
        Self { work, subject, level, size, fds, cpus, spin, floor }
    }

    /// Returns whether the ratio is one of throughputs, where more is better, and not of times.
    pub fn is_throughput(&self) -> bool {
        self.work == Work::InFlight
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { work, subject, level, size, fds, cpus, spin, floor } = self;
        write!(f, "{work}, {subject}, {level}, {size} B, {fds} fds, {cpus} cpus, ")?;
        write!(f, "spin {}, beside {floor}", if *spin { "on" } else { "off" })
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RoundTrip => "round trip",
            Self::PollLoop => "round trip in a poll loop",
            Self::InFlight => "32 in flight",
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bare => "bare stream",
            Self::Stream => "stream",
            Self::Seqpacket => "seqpacket",
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bare => "bare",
            Self::Transport => "transport",
            Self::Worker => "worker",
        })
    }
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Calls => "send + recvmsg",
            Self::Rights => "sendmsg with rights + recvmsg",
            Self::Unbatched => "unbatched stream",
            Self::Batched => "batched stream",
            Self::Spinning => "spinning send + recvmsg",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names_of_their_own() {
        let mut names: Vec<String> = Plan::all().iter().map(Plan::to_string).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        let first = "32 in flight, seqpacket, transport, 64 B, 0 fds, 1 cpus, spin off, \
                     beside batched stream";
        assert_eq!(names.first().map(String::as_str), Some(first));
    }

    #[test]
    fn every_work_is_measured_on_one_and_on_two_processors() {
        let plans = Plan::all();
        for plan in &plans {
            let other = Plan { cpus: 3 - plan.cpus, ..*plan };
            assert!(plans.contains(&other), "{plan}");
        }
    }
}
