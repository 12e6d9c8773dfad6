//! The kinds of frames, and the one table of the fields that each of them uses.

use core::fmt;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Kind {
    /// Asks the peer to run a method and to answer.
    Request = 1,
    /// Asks the peer to run a method; there is no answer. The id is for the sender's own use.
    OneWay = 2,
    /// The answer to a request.
    Reply = 3,
    /// The refusal of a request: a code and a short text.
    Refusal = 4,
    /// The first frame of a worker that is ready. The payload is a [`Hello`](crate::Hello).
    Ready = 5,
    /// The first frame of a worker whose set-up failed. The payload says where.
    Failed = 6,
    /// Tells that the one-way with this id is done, and every one before it.
    Done = 7,
}

impl Kind {
    /// Returns whether frames of this kind use the field. In all others it is zero, and a
    /// receiver refuses anything else. Every kind may have a payload.
    pub(crate) const fn uses(self, field: Field) -> bool {
        match self {
            Self::Request => true,
            Self::OneWay => !matches!(field, Field::ReplyFds),
            Self::Reply => matches!(field, Field::Id | Field::Fds),
            Self::Refusal | Self::Done => matches!(field, Field::Id),
            Self::Ready | Self::Failed => false,
        }
    }

    pub(crate) const fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Request),
            2 => Some(Self::OneWay),
            3 => Some(Self::Reply),
            4 => Some(Self::Refusal),
            5 => Some(Self::Ready),
            6 => Some(Self::Failed),
            7 => Some(Self::Done),
            _ => None,
        }
    }

    pub(crate) const fn to_wire(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::OneWay => "one-way",
            Self::Reply => "reply",
            Self::Refusal => "refusal",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Done => "done",
        })
    }
}

/// A part of a header that only some kinds use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// The flag of a frame that was sent before.
    Resent,
    /// The method.
    Method,
    /// The id that joins an answer to its request.
    Id,
    /// The descriptors.
    Fds,
    /// The most descriptors that the reply may bring.
    ReplyFds,
}

impl Field {
    /// Every field, in the order in which a receiver checks them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Resent, Self::Method, Self::Id, Self::Fds, Self::ReplyFds];
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resent => "resent",
            Self::Method => "method",
            Self::Id => "id",
            Self::Fds => "fds",
            Self::ReplyFds => "reply-fds",
        })
    }
}

#[cfg(test)]
impl Kind {
    /// Every kind, in the order of their numbers.
    pub(crate) const ALL: [Self; 7] = [
        Self::Request,
        Self::OneWay,
        Self::Reply,
        Self::Refusal,
        Self::Ready,
        Self::Failed,
        Self::Done,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_wire_and_no_other_byte_is_one() {
        for byte in 0..=u8::MAX {
            let kind = Kind::ALL.into_iter().find(|kind| kind.to_wire() == byte);
            assert_eq!(Kind::from_wire(byte), kind, "byte {byte}");
        }
    }
}
