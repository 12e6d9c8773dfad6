//! The kinds of frames, and the one table of what each of them has a use for.

use core::fmt;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Kind {
    /// Asks the peer to run a method and to answer.
    Request = 1,
    /// Asks the peer to run a method; there is no answer. The id is the sender's own number.
    OneWay = 2,
    /// The answer to a request.
    Reply = 3,
    /// The refusal of a request: a code and a short text.
    Refusal = 4,
    /// The first frame between two programs that did not fork from one another; see
    /// [`Hello`](crate::Hello).
    Hello = 5,
    /// The last frame of its sender: what follows is the end of the stream.
    Goodbye = 6,
    /// A record for the peer's log.
    Log = 7,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Request,
        Self::OneWay,
        Self::Reply,
        Self::Refusal,
        Self::Hello,
        Self::Goodbye,
        Self::Log,
    ];

    /// Returns whether frames of this kind have a use for the field. It is zero in all others,
    /// and a receiver refuses anything else.
    pub const fn uses(self, field: Field) -> bool {
        use Field::{Fds, Id, Method, Payload, Resent};
        match self {
            Self::Request | Self::OneWay => matches!(field, Payload | Resent | Method | Id | Fds),
            Self::Reply => matches!(field, Payload | Id | Fds),
            Self::Refusal => matches!(field, Payload | Id),
            Self::Hello | Self::Log => matches!(field, Payload),
            Self::Goodbye => false,
        }
    }

    pub(crate) const fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Request),
            2 => Some(Self::OneWay),
            3 => Some(Self::Reply),
            4 => Some(Self::Refusal),
            5 => Some(Self::Hello),
            6 => Some(Self::Goodbye),
            7 => Some(Self::Log),
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
            Self::Hello => "hello",
            Self::Goodbye => "goodbye",
            Self::Log => "log",
        })
    }
}

/// A part of a frame that some kinds have a use for and others do not, in the order in which a
/// receiver looks at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// The bytes after the header.
    Payload,
    /// The flag [`Flags::RESENT`](crate::Flags::RESENT).
    Resent,
    /// The method.
    Method,
    /// The id that joins an answer to its request.
    Id,
    /// The descriptors.
    Fds,
}

impl Field {
    /// Every field, in the order in which a receiver looks at them.
    pub const ALL: [Self; 5] = [Self::Payload, Self::Resent, Self::Method, Self::Id, Self::Fds];
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Payload => "payload",
            Self::Resent => "resent",
            Self::Method => "method",
            Self::Id => "id",
            Self::Fds => "fds",
        })
    }
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

    #[test]
    fn all_kinds_are_listed() {
        let last = Kind::ALL.len();
        assert!((1..=u8::MAX).filter_map(Kind::from_wire).count() == last);
    }
}
