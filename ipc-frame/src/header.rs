//! The header: its table of offsets, little-endian, its constructors, and what decoding refuses.

use core::fmt;

use static_assertions::{assert_eq_size, assert_impl_all};

use crate::fixed::{put, take};
use crate::kind::Kind;

/// Most descriptors that one frame carries: the kernel's `SCM_MAX_FD`
/// (unix(7); a message with 254 fails with `EINVAL`).
pub const MAX_FDS: u16 = 253;

/// Offsets and widths of the fields. Lengths are derived from this table alone.
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

const _: () = assert!(field::END == 24, "WIRE.md says 24");

bitflags::bitflags! {
    /// What a frame says about itself beside its kind. Unknown bits are refused.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Flags: u8 {
        /// The frame was sent before, to a receiver that is gone.
        const RESENT = 1;
    }
}

/// The fixed part of every frame, [`Header::SIZE`] bytes on the wire.
///
/// One constructor for each [`Kind`] takes the fields that the kind uses; all others are zero. The
/// length of the payload, the descriptors and their sequence are filled in where a frame is
/// pushed or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    len: u32,
    kind: Kind,
    flags: Flags,
    method: u16,
    id: u64,
    fd_count: u16,
    fd_sequence: u32,
}

assert_impl_all!(Header: Copy, Send, Sync);
assert_eq_size!(Header, [u8; 24]);

impl Header {
    /// Bytes of a header on the wire.
    pub const SIZE: usize = field::END;

    const fn new(kind: Kind, method: u16, id: u64) -> Self {
        Self { len: 0, kind, flags: Flags::empty(), method, id, fd_count: 0, fd_sequence: 0 }
    }

    /// The header of a request. The peer returns the id in its answer.
    pub const fn request(method: u16, id: u64) -> Self {
        Self::new(Kind::Request, method, id)
    }

    /// The header of a request without an answer. The id is for the sender's own use.
    pub const fn one_way(method: u16, id: u64) -> Self {
        Self::new(Kind::OneWay, method, id)
    }

    /// The header of the reply to the request with that id.
    pub const fn reply(id: u64) -> Self {
        Self::new(Kind::Reply, 0, id)
    }

    /// The header of the refusal of the request with that id.
    pub const fn refusal(id: u64) -> Self {
        Self::new(Kind::Refusal, 0, id)
    }

    /// The header of the first frame of a worker that is ready.
    pub const fn ready() -> Self {
        Self::new(Kind::Ready, 0, 0)
    }

    /// The header of the first frame of a worker whose set-up failed.
    pub const fn failed() -> Self {
        Self::new(Kind::Failed, 0, 0)
    }

    /// Returns how many bytes of payload follow the header.
    #[expect(clippy::len_without_is_empty, reason = "a length on the wire; this is no container")]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Returns what the frame is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the method of a request or one-way.
    pub const fn method(&self) -> u16 {
        self.method
    }

    /// Returns the id that joins an answer to its request.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Returns how many descriptors the frame owns, at most [`MAX_FDS`].
    pub const fn fd_count(&self) -> u16 {
        self.fd_count
    }

    /// Returns how many descriptors were announced before this frame's on the same connection,
    /// wrapping; zero in a frame without descriptors.
    pub const fn fd_sequence(&self) -> u32 {
        self.fd_sequence
    }

    /// Returns whether the request or one-way was sent before, to a receiver that is gone.
    pub const fn is_resent(&self) -> bool {
        self.flags.contains(Flags::RESENT)
    }

    /// The same header for a frame that is new: its length and count filled in, the rest as if
    /// it had never been sent.
    pub(crate) const fn of_new_frame(self, len: u32, fd_count: u16) -> Self {
        Self { len, fd_count, ..Self::new(self.kind, self.method, self.id) }
    }

    /// Returns the bytes of a header that is written without a [`Queue`](crate::Queue): for a
    /// payload of `len` bytes and `fd_count` descriptors, before which `fd_sequence` others were
    /// announced on the connection.
    ///
    /// # Errors
    /// The rule that a receiver would refuse it by.
    pub fn encode_with(
        &self,
        len: u32,
        fd_count: u16,
        fd_sequence: u32,
    ) -> Result<[u8; Self::SIZE], HeaderError> {
        let header = Self { len, fd_count, fd_sequence, ..*self };
        header.check()?;
        Ok(header.encode())
    }

    /// Returns the header's bytes, as `WIRE.md` specifies them.
    #[inline]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        self.encode_into(&mut bytes);
        bytes
    }

    /// Writes the header's bytes in place. Copying them right after they were written field by
    /// field would stall the processor.
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
    /// The peer's fault each time; see [`HeaderError`]. The bytes after it cannot be decoded.
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

    /// Checks the rules of `WIRE.md` that concern several fields, in their order.
    fn check(&self) -> Result<(), HeaderError> {
        let Self { kind, fd_count, fd_sequence, .. } = *self;
        for (offset, is_used, value) in [
            (field::FLAGS.start, kind.has_method(), self.flags.bits().into()),
            (field::METHOD.start, kind.has_method(), self.method.into()),
            (field::ID.start, kind.has_id(), self.id),
            (field::FD_COUNT.start, kind.may_have_fds(), self.fd_count.into()),
        ] {
            if value != 0 && !is_used {
                return Err(HeaderError::FieldNotUsed { kind, offset, value });
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

    /// Writes the sequence number into a header that is already encoded.
    pub(crate) fn stamp_fd_sequence(bytes: &mut [u8], fd_sequence: u32) {
        if let Some(field) = bytes.get_mut(field::FD_SEQUENCE) {
            field.copy_from_slice(&fd_sequence.to_le_bytes());
        }
    }

    /// Marks a frame whose header is already encoded as sent before, where its kind has the flag.
    pub(crate) fn stamp_resent(bytes: &mut [u8]) {
        let kind = bytes.get(field::KIND.start).copied().and_then(Kind::from_wire);
        if kind.is_some_and(|kind| kind.has_method()) {
            if let Some(byte) = bytes.get_mut(field::FLAGS.start) {
                *byte |= Flags::RESENT.bits();
            }
        }
    }
}

/// A header that this version does not accept. The sender is at fault. The bytes after it cannot
/// be decoded: close the connection.
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
    /// A field that frames of this kind do not use is not zero.
    FieldNotUsed {
        /// The frame's kind.
        kind: Kind,
        /// Where in the header the field is.
        offset: usize,
        /// What it holds: the flags, the method, the id or the count of descriptors.
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
            Self::FieldNotUsed { kind, offset, value } => {
                write!(f, "{value} at offset {offset} of a {kind} frame, where zero belongs")
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

    /// Each field by itself, in each kind: accepted where `WIRE.md` says so, else refused.
    #[test]
    fn header_refuses_what_its_kind_does_not_use() {
        for kind in Kind::ALL {
            let empty = Header::new(kind, 0, 0);
            for (offset, header) in [
                (5, Header { flags: Flags::RESENT, ..empty }),
                (6, Header { method: 1, ..empty }),
                (8, Header { id: 1, ..empty }),
                (16, Header { fd_count: 1, ..empty }),
            ] {
                let refused = HeaderError::FieldNotUsed { kind, offset, value: 1 };
                let is_used = match kind {
                    Kind::Request | Kind::OneWay => true,
                    Kind::Reply => matches!(offset, 8 | 16),
                    Kind::Refusal => offset == 8,
                    Kind::Ready | Kind::Failed => false,
                };
                let expected = if is_used { Ok(header) } else { Err(refused) };
                assert_eq!(Header::decode(&header.encode()), expected);
            }
        }
    }

    #[test]
    fn only_a_kind_with_the_flag_is_stamped_as_resent() {
        for kind in Kind::ALL {
            let mut bytes = Header::new(kind, 0, 0).encode();
            Header::stamp_resent(&mut bytes);
            let header = Header::decode(&bytes).unwrap();
            assert_eq!(header.is_resent(), kind.has_method());
        }
    }

    #[test]
    fn a_header_written_by_hand_is_checked() {
        let reply = Header::reply(9);
        let bytes = reply.encode_with(5, 2, 7).unwrap();
        let header = Header { len: 5, fd_count: 2, fd_sequence: 7, ..reply };
        assert_eq!(Header::decode(&bytes), Ok(header));
        let too_many = HeaderError::TooManyFds { fd_count: 254 };
        assert_eq!(reply.encode_with(0, 254, 0), Err(too_many));
        let (kind, offset) = (Kind::Ready, 16);
        let unused = HeaderError::FieldNotUsed { kind, offset, value: 1 };
        assert_eq!(Header::ready().encode_with(0, 1, 0), Err(unused));
        let no_fds = HeaderError::SequenceWithoutFds { fd_sequence: 1 };
        assert_eq!(reply.encode_with(0, 0, 1), Err(no_fds));
    }
}
