//! What is said of one fault again and again, and how much is said at all.

use core::time::Duration;

use ipc_transport::Instant;

/// How long the same line is only counted.
const SAME: Duration = Duration::from_secs(10);
/// How soon to try again what nobody took.
const AGAIN: Duration = Duration::from_secs(1);
/// Lines that may be said at once, and how soon another one may.
const BURST: u32 = 1000;
const REFILL: Duration = Duration::from_millis(50);

/// Counts what is not said.
#[derive(Debug)]
pub(crate) struct Quiet {
    /// The last line that was said, by its hash, and until when it is not said again.
    last: Option<u64>,
    until: Instant,
    /// How often it was not.
    repeated: u64,
    /// Lines that were left out because there were too many, or nobody took them.
    left_out: u64,
    tokens: u32,
    refilled: Instant,
    /// Every line is said.
    is_off: bool,
}

/// What is to be said before the next line, if not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unsaid {
    /// So often the last line was repeated.
    pub(crate) repeated: u64,
    /// So many lines were left out.
    pub(crate) left_out: u64,
}

impl Quiet {
    pub(crate) const fn new() -> Self {
        Self {
            last: None,
            until: Instant::PAST,
            repeated: 0,
            left_out: 0,
            tokens: BURST,
            refilled: Instant::PAST,
            is_off: false,
        }
    }

    /// Lets every line be said from now on. Returns what is to be said before.
    pub(crate) const fn say_all(&mut self) -> Unsaid {
        self.is_off = true;
        self.take()
    }

    /// Returns whether a line may be said now, and what is to be said before it. One that may not is
    /// counted.
    pub(crate) fn may_say(&mut self, line: &[u8], now: Instant) -> Option<Unsaid> {
        if self.is_off {
            return Some(self.take());
        }
        let hash = hash(line);
        if self.last == Some(hash) && now < self.until {
            self.repeated += 1;
            return None;
        }
        self.refill(now);
        if self.tokens == 0 {
            self.left_out += 1;
            return None;
        }
        self.tokens -= 1;
        (self.last, self.until) = (Some(hash), now + SAME);
        Some(self.take())
    }

    /// Returns what is to be said though nothing else is, once its time has come.
    pub(crate) fn settle(&mut self, now: Instant) -> Option<Unsaid> {
        (now >= self.deadline()).then(|| {
            self.refill(now);
            // What comes next is said anew.
            self.last = None;
            self.take()
        })
    }

    /// Returns when [`settle`](Self::settle) has something to say.
    pub(crate) const fn deadline(&self) -> Instant {
        if self.repeated > 0 || self.left_out > 0 { self.until } else { Instant::NEVER }
    }

    /// Takes back what nobody took, and so many lines with it. It is said later.
    pub(crate) fn put_back(&mut self, unsaid: Unsaid, lines: u64, now: Instant) {
        self.left_out += unsaid.left_out + unsaid.repeated + lines;
        (self.last, self.until) = (None, now + AGAIN);
    }

    const fn take(&mut self) -> Unsaid {
        let unsaid = Unsaid { repeated: self.repeated, left_out: self.left_out };
        (self.repeated, self.left_out) = (0, 0);
        unsaid
    }

    fn refill(&mut self, now: Instant) {
        let more = now.since(self.refilled).as_nanos() / REFILL.as_nanos();
        let more = u32::try_from(more).unwrap_or(BURST);
        if more > 0 {
            self.refilled = now;
            self.tokens = self.tokens.saturating_add(more).min(BURST);
        }
    }
}

/// FNV-1a.
fn hash(line: &[u8]) -> u64 {
    line.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
