//! The kinds of work that are measured, on one CPU or on two.

use std::fmt;

/// Messages in one round of [`Work::InFlight`].
pub(crate) const IN_FLIGHT: usize = 32;

/// Messages in one round of [`Work::OneWay`]; a request then asks how many arrived.
pub(crate) const ONE_WAYS: usize = 128;

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A message and its echo.
    RoundTrip { size: usize },
    /// 32 messages, then their 32 echoes.
    InFlight { size: usize },
    /// Messages without a reply.
    OneWay { size: usize },
    /// A large message to the peer or to main, and a small one the other way.
    Large { size: usize, to_main: bool },
    /// A message with `count` descriptors, and its echo without any.
    Fds { count: usize },
    /// From spawning a peer to its first reply.
    Spawn,
    /// From the peer's SIGKILL to the next reply.
    Kill,
    /// Two processes that wait for each other.
    Meet,
}

impl Work {
    /// Bytes in a message.
    pub(crate) const fn size(self) -> usize {
        match self {
            Self::RoundTrip { size } | Self::InFlight { size } => size,
            Self::OneWay { size } | Self::Large { size, .. } => size,
            Self::Fds { .. } | Self::Spawn | Self::Kill | Self::Meet => 64,
        }
    }

    /// Messages in a round.
    pub(crate) const fn in_round(self) -> usize {
        match self {
            Self::InFlight { .. } => IN_FLIGHT,
            Self::OneWay { .. } => ONE_WAYS,
            _ => 1,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::RoundTrip { size } => write!(f, "round trip, {}", Bytes(size)),
            Self::InFlight { size } => write!(f, "{IN_FLIGHT} in flight, {}", Bytes(size)),
            Self::OneWay { size } => write!(f, "one-way, {}", Bytes(size)),
            Self::Large { size, to_main: false } => write!(f, "to the worker, {}", Bytes(size)),
            Self::Large { size, to_main: true } => write!(f, "to main, {}", Bytes(size)),
            Self::Fds { count: 1 } => f.write_str("1 descriptor"),
            Self::Fds { count } => write!(f, "{count} descriptors"),
            Self::Spawn => f.write_str("spawn to first reply"),
            Self::Kill => f.write_str("kill to next reply"),
            Self::Meet => f.write_str("barrier"),
        }
    }
}

struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            size if size >= 1 << 20 => write!(f, "{} MiB", size >> 20),
            size if size >= 1 << 10 => write!(f, "{} KiB", size >> 10),
            size => write!(f, "{size} B"),
        }
    }
}

/// One table: the same work done by every contender that can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) work: Work,
    /// 1 if both processes share a CPU, 2 if each has one.
    pub(crate) cpus: usize,
}

impl Job {
    /// Returns all tables, the most interesting first.
    pub(crate) fn all() -> Vec<Self> {
        let (round_trip, in_flight) =
            (|size| Work::RoundTrip { size }, |size| Work::InFlight { size });
        let works = [
            round_trip(64),
            in_flight(64),
            round_trip(4096),
            round_trip(65536),
            in_flight(4096),
            Work::Fds { count: 1 },
            Work::Fds { count: 8 },
            Work::OneWay { size: 64 },
            round_trip(4 << 20),
            Work::Large { size: 4 << 20, to_main: false },
            Work::Large { size: 4 << 20, to_main: true },
            Work::Spawn,
            Work::Kill,
            Work::Meet,
        ];
        works.iter().flat_map(|&work| [1, 2].map(|cpus| Self { work, cpus })).collect()
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} {}", self.work, self.cpus, if self.cpus == 1 { "CPU" } else { "CPUs" })
    }
}
