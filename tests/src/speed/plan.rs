//! The list of rows: what is measured, and what it is compared with.

use std::fmt;

/// Requests in one round of [`Work::InFlight`].
pub const BATCH: usize = 32;

/// The work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// One request and its reply; both sides block in the receiving call.
    RoundTrip,
    /// The same from a poll loop.
    PollLoop,
    /// 32 requests, then their 32 replies.
    InFlight,
    /// Both sides place a token and wait for the other's.
    Meet(With),
    /// One side places, then waits; the other waits, then places.
    PingPong(With),
    /// From SIGKILL until the parent knows of the death.
    Death,
}

/// What a wait at a barrier watches besides the tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// Nothing.
    Nothing,
    /// A deadline, on both sides.
    Deadline,
    /// The child's pidfd, on the parent's side.
    Pidfd,
}

/// The mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The floor itself, which shows how noisy a ratio is.
    Bare,
    /// A stream socketpair.
    Stream,
    /// A SOCK_SEQPACKET socketpair.
    Seqpacket,
    /// A ring in shared memory, with a stream.
    Ring,
    /// A word per direction and futex(2), with a wake-up for every token; deaths are not detected.
    Futex,
    /// The same, but a waiter marks the word, so that no wake-up is wasted.
    MarkedFutex,
    /// Two eventfd(2), with blocking reads and writes.
    RawEventfd,
    /// A `pthread_barrier_t` shared between processes.
    Pthread,
    /// The barrier on the `Page` lane.
    Page,
    /// The barrier on the `Eventfd` lane.
    Eventfd,
    /// The barrier with a pidfd, while a grandchild holds everything that the dead child held.
    PidfdAlone,
}

impl Subject {
    /// Returns whether it uses only bare calls.
    pub fn is_bare(self) -> bool {
        matches!(
            self,
            Self::Bare | Self::Futex | Self::MarkedFutex | Self::RawEventfd | Self::Pthread
        )
    }
}

/// The level of the crates that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// None.
    Bare,
    /// `Outbox` and `Inbox` over a socket.
    Transport,
    /// `Worker`.
    Worker,
    /// The ends of a `Barrier`.
    Barrier,
}

/// The bare calls for comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// `send`, and `recvmsg` with a control buffer, both blocking.
    Calls,
    /// `sendmsg` with `SCM_RIGHTS` of descriptors that stay open; the peer closes its copies.
    Rights,
    /// 32 times `send`, then 32 times `recvmsg`.
    Unbatched,
    /// One `send` for all 32; each `recvmsg` takes as many as have arrived.
    Batched,
    /// Like `Calls`, but both sides spin before they block.
    Spinning,
    /// A word per direction and futex(2).
    Futex,
    /// The `Eventfd` lane, the barrier's first, without a deadline or pidfd.
    Eventfd,
    /// poll(2) on the end of a pipe whose other end only the dead child held.
    PipeEnd,
}

/// One row: what is measured, and what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The work.
    pub work: Work,
    /// The mechanism.
    pub subject: Subject,
    /// The level of the crates.
    pub level: Level,
    /// Payload bytes of a request and of its reply.
    pub size: usize,
    /// Descriptors in a request.
    pub fds: usize,
    /// 1 if both processes share a processor, 2 if each has one.
    pub cpus: usize,
    /// Whether both sides spin before they block.
    pub spin: bool,
    /// The bare calls for comparison.
    pub floor: Floor,
}

impl Plan {
    /// Returns all rows, those on one processor first.
    pub fn all() -> Vec<Self> {
        let mut plans = Vec::new();
        for cpus in [1, 2] {
            plans.push(Self::new(Work::RoundTrip, Subject::Bare, Level::Bare, cpus));
            for subject in [Subject::Stream, Subject::Seqpacket, Subject::Ring] {
                plans.extend(Self::of(subject, Level::Transport, cpus));
                if subject != Subject::Seqpacket {
                    plans.extend(Self::of(subject, Level::Worker, cpus));
                }
            }
            plans.extend(Self::of_the_barrier(cpus));
        }
        plans
    }

    fn of_the_barrier(cpus: usize) -> Vec<Self> {
        let mut plans = Vec::new();
        for work in [Work::Meet, Work::PingPong] {
            let bare = |subject| Self::at_a_barrier(work(With::Nothing), subject, cpus);
            let bare_ones = [Subject::Futex, Subject::MarkedFutex, Subject::RawEventfd];
            plans.extend(bare_ones.map(bare));
            if work(With::Nothing) == Work::Meet(With::Nothing) {
                plans.push(bare(Subject::Pthread));
            }
            for subject in [Subject::Page, Subject::Eventfd] {
                let with = |with| Self::at_a_barrier(work(with), subject, cpus);
                plans.extend([With::Nothing, With::Deadline, With::Pidfd].map(with));
            }
            if work(With::Nothing) == Work::PingPong(With::Nothing) {
                let page = |with| Self::at_a_barrier(work(with), Subject::Page, cpus);
                let rows = [With::Nothing, With::Deadline, With::Pidfd].map(page);
                plans.extend(rows.map(|row| Self { floor: Floor::Eventfd, ..row }));
            }
        }
        let death = Self::at_a_barrier(Work::Death, Subject::PidfdAlone, cpus);
        plans.push(Self { floor: Floor::PipeEnd, ..death });
        plans
    }

    const fn at_a_barrier(work: Work, subject: Subject, cpus: usize) -> Self {
        let level = match subject {
            Subject::Page | Subject::Eventfd | Subject::PidfdAlone => Level::Barrier,
            _ => Level::Bare,
        };
        Self { size: 0, floor: Floor::Futex, ..Self::new(work, subject, level, cpus) }
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

    /// Returns whether the ratio compares throughputs, where more is better, instead of times.
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
            Self::Meet(With::Nothing) => "place and sync",
            Self::Meet(With::Deadline) => "place and sync, deadline",
            Self::Meet(With::Pidfd) => "place and sync, pidfd",
            Self::PingPong(With::Nothing) => "ping-pong",
            Self::PingPong(With::Deadline) => "ping-pong, deadline",
            Self::PingPong(With::Pidfd) => "ping-pong, pidfd",
            Self::Death => "death seen",
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bare => "bare stream",
            Self::Stream => "stream",
            Self::Seqpacket => "seqpacket",
            Self::Ring => "ring",
            Self::Futex => "raw futex",
            Self::MarkedFutex => "marked futex",
            Self::RawEventfd => "raw eventfd",
            Self::Pthread => "pthread",
            Self::Page => "page",
            Self::Eventfd => "eventfd",
            Self::PidfdAlone => "pidfd",
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bare => "bare",
            Self::Transport => "transport",
            Self::Worker => "worker",
            Self::Barrier => "barrier",
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
            Self::Futex => "raw futex",
            Self::Eventfd => "lane eventfd",
            Self::PipeEnd => "poll on the end of a pipe",
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
        let first = "32 in flight, ring, transport, 64 B, 0 fds, 1 cpus, spin off, \
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
