//! The header: one table of offsets, little-endian, and what is refused when it is read.

use core::fmt;

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

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Main asks the worker to run a method.
    Request = 1,
    /// The worker's answer to a request.
    Reply = 2,
    /// The worker's refusal of a request: a code and a short text.
    Refusal = 3,
}

impl Kind {
    const fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Request),
            2 => Some(Self::Reply),
            3 => Some(Self::Refusal),
            _ => None,
        }
    }

    const fn to_wire(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Reply => 2,
            Self::Refusal => 3,
        }
    }
}

bitflags::bitflags! {
    /// What a frame says about itself beside its kind. Unknown bits are refused.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Flags: u8 {
        /// The frame was sent once before, to a receiver that is gone.
        const RESENT = 1;
    }
}

/// The fixed part of every frame, [`Header::SIZE`] bytes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of payload after the header.
    pub len: u32,
    /// What the frame is.
    pub kind: Kind,
    /// What it says about itself.
    pub flags: Flags,
    /// The method of a request; zero in other kinds.
    pub method: u16,
    /// What joins an answer to its request.
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
        match header {
            _ if reserved != 0 => Err(HeaderError::ReservedNotZero { reserved }),
            Self { fd_count, .. } if fd_count > MAX_FDS => {
                Err(HeaderError::TooManyFds { fd_count })
            }
            Self { fd_count: 0, fd_sequence, .. } if fd_sequence != 0 => {
                Err(HeaderError::SequenceWithoutFds { fd_sequence })
            }
            _ => Ok(header),
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

    /// Adds the flags to a header that is already encoded.
    pub(crate) fn stamp_flags(bytes: &mut [u8], flags: Flags) {
        if let Some(byte) = bytes.get_mut(field::FLAGS.start) {
            *byte |= flags.bits();
        }
    }
}

#[inline]
fn take<const WIDTH: usize>(bytes: &[u8; Header::SIZE], at: usize) -> [u8; WIDTH] {
    // The offsets come from the table, so that there are as many bytes.
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; WIDTH])
}

#[inline]
fn put<const WIDTH: usize>(bytes: &mut [u8; Header::SIZE], at: usize, field: [u8; WIDTH]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = field;
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

    /// The bytes of docs/WIRE.md, to the letter.
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

    #[test]
    fn wire_document_shows_the_golden_bytes() {
        let document =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/WIRE.md"))
                .unwrap();
        let hex: std::vec::Vec<_> = GOLDEN.iter().map(|byte| std::format!("{byte:02x}")).collect();
        assert!(document.contains(&hex.join(" ")), "docs/WIRE.md lacks {}", hex.join(" "));
    }

    #[test]
    fn every_kind_survives_the_wire() {
        for kind in [Kind::Request, Kind::Reply, Kind::Refusal] {
            assert_eq!(Kind::from_wire(kind.to_wire()), Some(kind));
        }
    }

    /// Whatever one byte is changed to, the header is refused or encodes to those same bytes.
    #[test]
    fn header_accepts_only_what_it_would_write() {
        for at in 0..Header::SIZE {
            for byte in 0..=u8::MAX {
                let mut bytes = GOLDEN;
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
}
