//! Limits repeated messages, and the total number of messages.

use core::time::Duration;

use ipc_transport::Instant;

/// How long the same line is only counted.
const SAME: Duration = Duration::from_secs(10);
/// How soon to retry a line that no reader took.
const AGAIN: Duration = Duration::from_secs(1);
/// How many lines may be written at once, and how soon another one may.
const BURST: u32 = 1000;
const REFILL: Duration = Duration::from_millis(50);

/// Counts the lines that are left out.
#[derive(Debug)]
pub(crate) struct Quiet {
    /// The hash of the last line, and until when it is not repeated.
    last: Option<u64>,
    until: Instant,
    /// How often it was repeated.
    repeated: u64,
    /// Lines that were left out because there were too many, or because no reader took them.
    left_out: u64,
    tokens: u32,
    refilled: Instant,
    /// Every line is written.
    is_off: bool,
}

/// What to report before the next line, if not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unsaid {
    /// How often the last line was repeated.
    pub(crate) repeated: u64,
    /// How many lines were left out.
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

    /// Allows every line from now on. Returns what to report first.
    pub(crate) const fn say_all(&mut self) -> Unsaid {
        self.is_off = true;
        self.take()
    }

    /// Returns what to report first if a line may be written now, or counts the line and returns
    /// `None`.
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

    /// Returns what to report without another line, once it is due.
    pub(crate) fn settle(&mut self, now: Instant) -> Option<Unsaid> {
        (now >= self.deadline()).then(|| {
            self.refill(now);
            // The next line counts as new.
            self.last = None;
            self.take()
        })
    }

    /// Returns when [`settle`](Self::settle) has something to report.
    pub(crate) const fn deadline(&self) -> Instant {
        if self.repeated > 0 || self.left_out > 0 { self.until } else { Instant::NEVER }
    }

    /// Takes back a report that no reader took, together with `lines` lines. It is reported later.
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
