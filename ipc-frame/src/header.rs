//! The header: one table of offsets, little-endian, and what is refused when it is read.

use core::fmt;

use crate::fixed::{put, take};
use crate::kind::{Field, Kind};

/// Largest number of descriptors that one frame carries: the kernel's `SCM_MAX_FD`
/// (unix(7); a message with 254 fails with `EINVAL`).
pub const MAX_FDS: u16 = 253;

/// Offsets and widths of the fields. Lengths are derived from it, and nothing else knows it.
mod field {
    use core::ops::Range;

    pub(super) const LEN: Range<usize> = 0..4;
    pub(super) const KIND: Range<usize> = LEN.end..LEN.end + 1;
    pub(super) const FLAGS: Range<usize> = KIND.end..KIND.end + 1;
    pub(super) const METHOD: Range<usize> = FLAGS.end..FLAGS.end + 2;
    pub(super) const ID: Range<usize> = METHOD.end..METHOD.end + 8;
    pub(super) const FD_COUNT: Range<usize> = ID.end..ID.end + 2;
    pub(super) const RESERVED: Range<usize> = FD_COUNT.end..FD_COUNT.end + 2;
    pub(super) const FD_SEQUENCE: Range<usize> = RESERVED.end..RESERVED.end + 4;
    pub(super) const END: usize = FD_SEQUENCE.end;
}

const _: () = assert!(field::END == 24, "docs/WIRE.md says 24");

bitflags::bitflags! {
    /// What a frame says about itself beside its kind. Unknown bits are refused.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Flags: u8 {
        /// The frame was sent once before, to a receiver that is gone.
        const RESENT = 1;
    }
}

/// The fixed part of every frame, [`Header::SIZE`] bytes on the wire.
///
/// What a kind has no use for is zero: see [`Kind::uses`]. Whoever makes a header by hand can
/// ask [`check`](Self::check) whether a receiver would take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of payload after the header.
    pub len: u32,
    /// What the frame is.
    pub kind: Kind,
    /// What it says about itself.
    pub flags: Flags,
    /// The method of a request or one-way request.
    pub method: u16,
    /// What joins an answer to its request: the sender's own number.
    pub id: u64,
    /// How many descriptors the frame owns, at most [`MAX_FDS`].
    pub fd_count: u16,
    /// How many descriptors were sent before this frame's on the same connection, wrapping;
    /// zero in a frame without descriptors. Stamped when the frame is sent.
    pub fd_sequence: u32,
}

impl Header {
    /// Bytes of a header on the wire.
    pub const SIZE: usize = field::END;

    /// A header with no flags, payload or descriptors yet; the queue fills in the lengths.
    pub const fn new(kind: Kind, method: u16, id: u64) -> Self {
        Self { len: 0, kind, flags: Flags::empty(), method, id, fd_count: 0, fd_sequence: 0 }
    }

    /// Returns the header's bytes, as `docs/WIRE.md` lists them.
    #[inline]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        self.encode_into(&mut bytes);
        bytes
    }

    /// Writes the header's bytes where they are to lie: copied from elsewhere right after they
    /// were written in pieces, they would make the processor wait.
    #[inline]
    pub(crate) fn encode_into(&self, bytes: &mut [u8; Self::SIZE]) {
        put(bytes, field::LEN.start, self.len.to_le_bytes());
        put(bytes, field::KIND.start, [self.kind.to_wire()]);
        put(bytes, field::FLAGS.start, [self.flags.bits()]);
        put(bytes, field::METHOD.start, self.method.to_le_bytes());
        put(bytes, field::ID.start, self.id.to_le_bytes());
        put(bytes, field::FD_COUNT.start, self.fd_count.to_le_bytes());
        put(bytes, field::RESERVED.start, [0; 2]);
        put(bytes, field::FD_SEQUENCE.start, self.fd_sequence.to_le_bytes());
    }

    /// Reads a header from the bytes of a peer.
    ///
    /// # Errors
    /// The peer's fault each time; see [`HeaderError`]. A stream that gave one is out of step.
    #[inline]
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Result<Self, HeaderError> {
        let [kind] = take(bytes, field::KIND.start);
        let [flags] = take(bytes, field::FLAGS.start);
        let reserved = u16::from_le_bytes(take(bytes, field::RESERVED.start));
        let header = Self {
            len: u32::from_le_bytes(take(bytes, field::LEN.start)),
            kind: Kind::from_wire(kind).ok_or(HeaderError::UnknownKind { kind })?,
            flags: Flags::from_bits(flags).ok_or(HeaderError::UnknownFlags { flags })?,
            method: u16::from_le_bytes(take(bytes, field::METHOD.start)),
            id: u64::from_le_bytes(take(bytes, field::ID.start)),
            fd_count: u16::from_le_bytes(take(bytes, field::FD_COUNT.start)),
            fd_sequence: u32::from_le_bytes(take(bytes, field::FD_SEQUENCE.start)),
        };
        if reserved != 0 {
            return Err(HeaderError::ReservedNotZero { reserved });
        }
        header.check()?;
        Ok(header)
    }

    /// Returns whether a receiver would take a frame with this header, as far as its own limit
    /// for payloads lets it.
    ///
    /// # Errors
    /// The first rule of `docs/WIRE.md` that the header breaks.
    pub fn check(&self) -> Result<(), HeaderError> {
        let Self { kind, fd_count, fd_sequence, .. } = *self;
        for field in Field::ALL {
            let value = self.value_of(field);
            if value != 0 && !kind.uses(field) {
                return Err(HeaderError::FieldNotUsed { kind, field, value });
            }
        }
        if fd_count > MAX_FDS {
            return Err(HeaderError::TooManyFds { fd_count });
        }
        if fd_count == 0 && fd_sequence != 0 {
            return Err(HeaderError::SequenceWithoutFds { fd_sequence });
        }
        Ok(())
    }

    fn value_of(&self, field: Field) -> u64 {
        match field {
            Field::Payload => self.len.into(),
            Field::Resent => self.flags.intersection(Flags::RESENT).bits().into(),
            Field::Method => self.method.into(),
            Field::Id => self.id,
            Field::Fds => self.fd_count.into(),
        }
    }

    /// Reads the id from a header that is already encoded.
    pub(crate) fn id_of(bytes: &[u8]) -> Option<u64> {
        bytes.get(field::ID)?.first_chunk().map(|id| u64::from_le_bytes(*id))
    }

    /// Writes the sequence number into a header that is already encoded.
    pub(crate) fn stamp_fd_sequence(bytes: &mut [u8], fd_sequence: u32) {
        if let Some(field) = bytes.get_mut(field::FD_SEQUENCE) {
            field.copy_from_slice(&fd_sequence.to_le_bytes());
        }
    }

    /// Marks a frame whose header is already encoded as sent before, where its kind can say so.
    pub(crate) fn stamp_resent(bytes: &mut [u8]) {
        let kind = bytes.get(field::KIND.start).copied().and_then(Kind::from_wire);
        if kind.is_some_and(|kind| kind.uses(Field::Resent)) {
            if let Some(byte) = bytes.get_mut(field::FLAGS.start) {
                *byte |= Flags::RESENT.bits();
            }
        }
    }
}

/// A header that this version does not accept. The sender is at fault, and the bytes after it
/// cannot be told apart any more: the connection is of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// The kind is none of [`Kind`]'s.
    UnknownKind {
        /// The byte as received.
        kind: u8,
    },
    /// A flag bit is set that this version does not know.
    UnknownFlags {
        /// The byte as received.
        flags: u8,
    },
    /// The reserved bytes are not zero.
    ReservedNotZero {
        /// The two bytes as received.
        reserved: u16,
    },
    /// A field holds something that frames of this kind have no use for.
    FieldNotUsed {
        /// The frame's kind.
        kind: Kind,
        /// The field that should be zero.
        field: Field,
        /// What it holds: the payload's length, the flag's bit, the method, the id or the count
        /// of descriptors.
        value: u64,
    },
    /// More descriptors are announced than one frame can carry.
    TooManyFds {
        /// The number announced; the limit is [`MAX_FDS`].
        fd_count: u16,
    },
    /// A frame without descriptors carries a sequence number.
    SequenceWithoutFds {
        /// The number as received.
        fd_sequence: u32,
    },
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind { kind } => write!(f, "unknown kind of frame {kind}"),
            Self::UnknownFlags { flags } => write!(f, "unknown flag bits in {flags:#04x}"),
            Self::ReservedNotZero { reserved } => {
                write!(f, "reserved bytes hold {reserved:#06x} instead of zero")
            }
            Self::FieldNotUsed { kind, field, value } => {
                write!(f, "{field} {value} in a {kind} frame, which has no use for it")
            }
            Self::TooManyFds { fd_count } => {
                write!(f, "a frame with {fd_count} descriptors, over the limit of {MAX_FDS}")
            }
            Self::SequenceWithoutFds { fd_sequence } => {
                write!(f, "descriptor sequence {fd_sequence} in a frame without descriptors")
            }
        }
    }
}

impl core::error::Error for HeaderError {}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: [u8; 24] = [
        0x05, 0x00, 0x00, 0x00, // len 5
        0x01, // kind: request
        0x01, // flags: RESENT
        0x34, 0x12, // method 0x1234
        0x03, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, // id 0x2_0000_0003
        0x02, 0x00, // two descriptors
        0x00, 0x00, // reserved
        0x07, 0x00, 0x00, 0x00, // seven were sent before
    ];

    fn golden() -> Header {
        Header {
            len: 5,
            flags: Flags::RESENT,
            fd_count: 2,
            fd_sequence: 7,
            ..Header::new(Kind::Request, 0x1234, 0x2_0000_0003)
        }
    }

    #[test]
    fn header_has_the_golden_bytes() {
        assert_eq!(golden().encode(), GOLDEN);
        assert_eq!(Header::decode(&GOLDEN), Ok(golden()));
    }

    /// An interpreter is some hundred times slower: it looks at some bytes only, 0 and 255 included.
    const STEP: usize = if cfg!(miri) { 51 } else { 1 };

    /// Whatever one byte is changed to, the header is refused or encodes to those same bytes.
    #[test]
    fn header_accepts_only_what_it_would_write() {
        for kind in Kind::ALL {
            let bytes = || (0..=u8::MAX).step_by(STEP);
            for (at, byte) in (0..Header::SIZE).flat_map(|at| bytes().map(move |byte| (at, byte))) {
                let mut bytes = GOLDEN;
                bytes[field::KIND.start] = kind.to_wire();
                bytes[at] = byte;
                if let Ok(header) = Header::decode(&bytes) {
                    assert_eq!(header.encode(), bytes, "byte {at} = {byte}");
                }
            }
        }
    }

    #[test]
    fn header_refuses_unknown_bits_with_their_numbers() {
        let change = |at: usize, byte: u8| {
            let mut bytes = GOLDEN;
            bytes[at] = byte;
            Header::decode(&bytes).unwrap_err()
        };
        assert_eq!(change(4, 0), HeaderError::UnknownKind { kind: 0 });
        assert_eq!(change(5, 0x82), HeaderError::UnknownFlags { flags: 0x82 });
        assert_eq!(change(16, 254), HeaderError::TooManyFds { fd_count: 254 });
        assert_eq!(change(19, 1), HeaderError::ReservedNotZero { reserved: 0x100 });
        assert_eq!(change(16, 0), HeaderError::SequenceWithoutFds { fd_sequence: 7 });
    }

    /// Each field by itself, in each kind: taken where the table says so, else refused by name.
    #[test]
    fn header_refuses_what_its_kind_has_no_use_for() {
        for kind in Kind::ALL {
            let empty = Header::new(kind, 0, 0);
            for (field, header) in [
                (Field::Payload, Header { len: 1, ..empty }),
                (Field::Resent, Header { flags: Flags::RESENT, ..empty }),
                (Field::Method, Header { method: 1, ..empty }),
                (Field::Id, Header { id: 1, ..empty }),
                (Field::Fds, Header { fd_count: 1, ..empty }),
            ] {
                let refused = HeaderError::FieldNotUsed { kind, field, value: 1 };
                let expected = if kind.uses(field) { Ok(header) } else { Err(refused) };
                assert_eq!(Header::decode(&header.encode()), expected);
            }
        }
    }

    #[test]
    fn only_a_kind_that_can_say_so_is_stamped_as_resent() {
        for kind in Kind::ALL {
            let mut bytes = Header::new(kind, 0, 0).encode();
            Header::stamp_resent(&mut bytes);
            let header = Header::decode(&bytes).unwrap();
            assert_eq!(header.flags.contains(Flags::RESENT), kind.uses(Field::Resent));
        }
    }
}
