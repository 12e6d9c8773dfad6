//! The kinds of frames, and which fields each kind uses.

use core::fmt;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Kind {
    /// Asks the peer to run a method and answer.
    Request = 1,
    /// Asks the peer to run a method without an answer. The id is for the sender's own use.
    OneWay = 2,
    /// The answer to a request.
    Reply = 3,
    /// Says that a request failed: a code and a short text.
    Refusal = 4,
    /// The first frame of a worker that is ready. The payload identifies the worker.
    Ready = 5,
    /// The first frame of a worker whose set-up failed. The payload says at which stage.
    Failed = 6,
    /// Says that the one-way with this id is done, and every one-way before it.
    Done = 7,
    /// A message that a worker sends without a request. The id names the request that it belongs
    /// to, if any.
    Note = 8,
}

/// The names of the kinds, in the same order.
const NAMES: [&str; 8] =
    ["request", "one-way", "reply", "refusal", "ready", "failed", "done", "note"];

impl Kind {
    /// Every kind, in the order of its number. Numbers start at 1.
    pub(crate) const ALL: [Self; 8] = [
        Self::Request,
        Self::OneWay,
        Self::Reply,
        Self::Refusal,
        Self::Ready,
        Self::Failed,
        Self::Done,
        Self::Note,
    ];

    /// Whether frames of this kind ask the peer to run a method. Only these have the flag `RESENT`.
    pub(crate) const fn asks(self) -> bool {
        matches!(self, Self::Request | Self::OneWay)
    }

    /// Whether frames of this kind may carry descriptors.
    pub(crate) const fn may_have_fds(self) -> bool {
        self.asks() || matches!(self, Self::Reply)
    }

    pub(crate) fn from_wire(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte).wrapping_sub(1)).copied()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.get(usize::from(*self as u8) - 1);
        f.write_str(name.copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_wire_and_no_other_byte_is_one() {
        for byte in 0..=u8::MAX {
            let kind = Kind::ALL.into_iter().find(|kind| *kind as u8 == byte);
            assert_eq!(Kind::from_wire(byte), kind, "byte {byte}");
        }
    }
}
