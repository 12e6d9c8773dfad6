//! The header: the table of offsets, the constructors, and the checks of decoding.

use core::fmt;

use crate::kind::Kind;

/// Most descriptors that one frame carries: the kernel's `SCM_MAX_FD`. A sendmsg(2) with 254 fails
/// with `EINVAL` (unix(7)).
pub const MAX_FDS: u16 = 253;

/// Offsets of the fields. All lengths follow from this table.
mod field {
    pub(super) const LEN: usize = 0;
    pub(super) const KIND: usize = LEN + 4;
    pub(super) const FLAGS: usize = KIND + 1;
    pub(super) const METHOD: usize = FLAGS + 1;
    pub(super) const ID: usize = METHOD + 2;
    pub(super) const FD_COUNT: usize = ID + 8;
    pub(super) const REPLY_FDS: usize = FD_COUNT + 2;
    pub(super) const FD_SEQUENCE: usize = REPLY_FDS + 2;
    pub(super) const END: usize = FD_SEQUENCE + 4;
}

const _: () = assert!(field::END == 24, "WIRE.md says 24");

/// The only flag: the frame was sent before, to a receiver that is gone.
const RESENT: u8 = 1;

/// The fixed part of every frame, [`Header::SIZE`] bytes on the wire.
///
/// Each [`Kind`] has one constructor, which takes the fields that the kind uses. All other fields
/// are zero. Pushing a frame fills in the length of the payload and the number of descriptors, and
/// sending it fills in their sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    len: u32,
    kind: Kind,
    flags: u8,
    method: u16,
    id: u64,
    fd_count: u16,
    reply_fds: u16,
    fd_sequence: u32,
}

impl Header {
    /// Length in bytes of a header on the wire.
    pub const SIZE: usize = field::END;

    /// The id of a note that belongs to no request. Requests may use any other id.
    pub const NO_REQUEST: u64 = u64::MAX;

    const fn new(kind: Kind, method: u16, id: u64) -> Self {
        Self { len: 0, kind, flags: 0, method, id, fd_count: 0, reply_fds: 0, fd_sequence: 0 }
    }

    /// The header of a request. The peer returns the id in its answer.
    pub const fn request(method: u16, id: u64) -> Self {
        Self::new(Kind::Request, method, id)
    }

    /// The header of a one-way: a request without an answer. The id is for the sender's own use.
    pub const fn one_way(method: u16, id: u64) -> Self {
        Self::new(Kind::OneWay, method, id)
    }

    /// The header of the reply to the request with this id.
    pub const fn reply(id: u64) -> Self {
        Self::new(Kind::Reply, 0, id)
    }

    /// The header of the refusal of the request with this id.
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

    /// The header that says that the one-way with this id is done, and every one-way before it.
    pub const fn done(id: u64) -> Self {
        Self::new(Kind::Done, 0, id)
    }

    /// The header of a note. The program chooses the number. The id is that of the request that the
    /// note belongs to, or [`NO_REQUEST`](Self::NO_REQUEST).
    pub const fn note(number: u16, id: u64) -> Self {
        Self::new(Kind::Note, number, id)
    }

    /// Allows the reply to this request to carry up to `count` descriptors, capped at [`MAX_FDS`].
    /// Without this it carries none. Has no effect on other kinds.
    #[must_use]
    pub const fn allowing(self, count: u16) -> Self {
        let limit = if matches!(self.kind, Kind::Request) { MAX_FDS } else { 0 };
        Self { reply_fds: if count < limit { count } else { limit }, ..self }
    }

    /// Returns the length of the payload in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a length on the wire, not a container's")]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Returns what the frame is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the method of a request or one-way, or the number of a note.
    pub const fn method(&self) -> u16 {
        self.method
    }

    /// Returns the id that matches an answer or a note to its request.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Returns how many descriptors the frame owns, at most [`MAX_FDS`].
    pub const fn fd_count(&self) -> u16 {
        self.fd_count
    }

    /// Returns how many descriptors the reply to this request may carry at most.
    pub const fn reply_fds(&self) -> u16 {
        self.reply_fds
    }

    /// Returns how many descriptors were announced before this frame in the same direction of the
    /// connection, wrapping. Zero in a frame without descriptors.
    pub const fn fd_sequence(&self) -> u32 {
        self.fd_sequence
    }

    /// Returns whether the request or one-way was sent before, to a receiver that is gone.
    pub const fn is_resent(&self) -> bool {
        self.flags & RESENT != 0
    }

    /// The same header for a new frame: length and count filled in, no trace of an earlier send.
    pub(crate) const fn of_new_frame(self, len: u32, fd_count: u16) -> Self {
        Self { len, flags: 0, fd_count, fd_sequence: 0, ..self }
    }

    /// Encodes a header without a [`Queue`](crate::Queue), for a payload of `len` bytes and
    /// `fd_count` descriptors. `fd_sequence` is how many descriptors were announced before on the
    /// connection, and zero if `fd_count` is zero.
    ///
    /// # Errors
    /// The error with which a receiver would refuse the header.
    pub fn encode_with(
        &self,
        len: u32,
        fd_count: u16,
        fd_sequence: u32,
    ) -> Result<[u8; Self::SIZE], DecodeError> {
        let bytes = Self { len, fd_count, fd_sequence, ..*self }.encode();
        Self::decode(&bytes).map(|_| bytes)
    }

    /// Returns the header's bytes, as `WIRE.md` specifies them.
    #[inline]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        self.encode_into(&mut bytes);
        bytes
    }

    /// Writes the header's bytes in place. Writing field by field and then copying the bytes would
    /// stall the processor (store forwarding).
    #[inline]
    pub(crate) fn encode_into(&self, bytes: &mut [u8; Self::SIZE]) {
        put(bytes, field::LEN, self.len.to_le_bytes());
        put(bytes, field::KIND, [self.kind as u8]);
        put(bytes, field::FLAGS, [self.flags]);
        put(bytes, field::METHOD, self.method.to_le_bytes());
        put(bytes, field::ID, self.id.to_le_bytes());
        put(bytes, field::FD_COUNT, self.fd_count.to_le_bytes());
        put(bytes, field::REPLY_FDS, self.reply_fds.to_le_bytes());
        put(bytes, field::FD_SEQUENCE, self.fd_sequence.to_le_bytes());
    }

    /// Decodes a header from a peer. Any bytes are safe.
    ///
    /// # Errors
    /// See [`DecodeError`]. The peer is at fault, and the bytes after the header cannot be decoded.
    #[inline(never)]
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Result<Self, DecodeError> {
        let [kind] = take(bytes, field::KIND);
        let kind = Kind::from_wire(kind).ok_or(DecodeError::UnknownKind { kind })?;
        let header = Self {
            len: u32::from_le_bytes(take(bytes, field::LEN)),
            kind,
            flags: u8::from_le_bytes(take(bytes, field::FLAGS)),
            method: u16::from_le_bytes(take(bytes, field::METHOD)),
            id: u64::from_le_bytes(take(bytes, field::ID)),
            fd_count: u16::from_le_bytes(take(bytes, field::FD_COUNT)),
            reply_fds: u16::from_le_bytes(take(bytes, field::REPLY_FDS)),
            fd_sequence: u32::from_le_bytes(take(bytes, field::FD_SEQUENCE)),
        };
        // In the order of the offsets, as `WIRE.md` specifies.
        for (offset, value, is_used, most) in [
            (field::FLAGS, header.flags.into(), kind.asks(), RESENT.into()),
            (field::METHOD, header.method.into(), kind.asks() || kind == Kind::Note, u64::MAX),
            (field::ID, header.id, !matches!(kind, Kind::Ready | Kind::Failed), u64::MAX),
            (field::FD_COUNT, header.fd_count.into(), kind.may_have_fds(), MAX_FDS.into()),
            (field::REPLY_FDS, header.reply_fds.into(), kind == Kind::Request, MAX_FDS.into()),
            (field::FD_SEQUENCE, header.fd_sequence.into(), header.fd_count > 0, u64::MAX),
        ] {
            let limit = if is_used { most } else { 0 };
            if value > limit {
                return Err(DecodeError::FieldOverLimit { kind, offset, value, limit });
            }
        }
        Ok(header)
    }

    /// Writes the sequence number into an encoded header.
    pub(crate) fn stamp_fd_sequence(bytes: &mut [u8], fd_sequence: u32) {
        put(bytes, field::FD_SEQUENCE, fd_sequence.to_le_bytes());
    }

    /// Sets the flag `RESENT` in an encoded header, if its kind has that flag.
    pub(crate) fn stamp_resent(bytes: &mut [u8]) {
        let [kind] = take(bytes, field::KIND);
        if Kind::from_wire(kind).is_some_and(Kind::asks) {
            put(bytes, field::FLAGS, [RESENT]);
        }
    }
}

/// Reads a field. The offset comes from the table, never from a peer, so the field is always inside
/// the header.
#[inline]
fn take<const WIDTH: usize>(bytes: &[u8], at: usize) -> [u8; WIDTH] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; WIDTH])
}

/// Writes a field; see [`take`].
#[inline]
fn put<const WIDTH: usize>(bytes: &mut [u8], at: usize, field: [u8; WIDTH]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = field;
    }
}

/// Why a header is refused. The sender is at fault. The bytes after the header cannot be decoded:
/// close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The byte is not the number of a [`Kind`].
    UnknownKind {
        /// The byte as received.
        kind: u8,
    },
    /// A field exceeds its limit. The limit is zero if frames of this kind do not use the field.
    FieldOverLimit {
        /// The frame's kind.
        kind: Kind,
        /// The field's offset in the header, in bytes.
        offset: usize,
        /// The field's value.
        value: u64,
        /// The highest value allowed.
        limit: u64,
    },
    /// The payload is too long for the decoder's buffer.
    TooLong {
        /// Length of the payload in bytes, as announced.
        len: u32,
        /// Longest payload in bytes that fits.
        capacity: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind { kind } => write!(f, "cannot decode a frame of unknown kind {kind}"),
            Self::FieldOverLimit { kind, offset, value, limit } => {
                write!(f, "a {kind} frame holds {value} at offset {offset}: the limit is {limit}")
            }
            Self::TooLong { len, capacity } => {
                write!(f, "cannot decode a payload of {len} bytes: the capacity is {capacity}")
            }
        }
    }
}

impl core::error::Error for DecodeError {}

#[cfg(test)]
mod tests {
    use static_assertions::{assert_eq_size, assert_impl_all};

    use super::*;

    assert_impl_all!(Header: Copy, Send, Sync);
    assert_eq_size!(Header, [u8; 24]);

    const GOLDEN: [u8; 24] = [
        0x05, 0x00, 0x00, 0x00, // len 5
        0x01, // kind: request
        0x01, // flags: RESENT
        0x34, 0x12, // method 0x1234
        0x03, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, // id 0x2_0000_0003
        0x02, 0x00, // two descriptors
        0x03, 0x00, // its reply may carry three
        0x07, 0x00, 0x00, 0x00, // seven were announced before
    ];

    fn golden() -> Header {
        Header {
            len: 5,
            flags: RESENT,
            fd_count: 2,
            reply_fds: 3,
            fd_sequence: 7,
            ..Header::new(Kind::Request, 0x1234, 0x2_0000_0003)
        }
    }

    #[test]
    fn header_has_the_golden_bytes() {
        assert_eq!(golden().encode(), GOLDEN);
        assert_eq!(Header::decode(&GOLDEN), Ok(golden()));
    }

    /// Miri is some hundred times slower, so it tries few bytes, including 0 and 255.
    const STEP: usize = if cfg!(miri) { 51 } else { 1 };

    /// After any change of one byte, the header is refused or encodes to the same bytes.
    #[test]
    fn header_accepts_only_what_it_would_write() {
        for kind in Kind::ALL {
            let bytes = || (0..=u8::MAX).step_by(STEP);
            for (at, byte) in (0..Header::SIZE).flat_map(|at| bytes().map(move |byte| (at, byte))) {
                let mut bytes = GOLDEN;
                bytes[field::KIND] = kind as u8;
                bytes[at] = byte;
                if let Ok(header) = Header::decode(&bytes) {
                    assert_eq!(header.encode(), bytes, "byte {at} = {byte}");
                }
            }
        }
    }

    #[test]
    fn header_refuses_values_over_a_limit_with_both_numbers() {
        let change = |at: usize, byte: u8| {
            let mut bytes = GOLDEN;
            bytes[at] = byte;
            Header::decode(&bytes).unwrap_err()
        };
        let over = |offset, value, limit| {
            let kind = Kind::Request;
            DecodeError::FieldOverLimit { kind, offset, value, limit }
        };
        assert_eq!(change(4, 0), DecodeError::UnknownKind { kind: 0 });
        assert_eq!(change(5, 0x82), over(5, 0x82, 1));
        assert_eq!(change(16, 254), over(16, 254, 253));
        assert_eq!(change(19, 1), over(18, 0x103, 253));
        assert_eq!(change(16, 0), over(20, 7, 0));
    }

    /// Each field alone, in each kind: accepted if `WIRE.md` allows it, otherwise refused.
    #[test]
    fn header_refuses_what_its_kind_does_not_use() {
        for kind in Kind::ALL {
            let empty = Header::new(kind, 0, 0);
            for (offset, header) in [
                (5, Header { flags: RESENT, ..empty }),
                (6, Header { method: 1, ..empty }),
                (8, Header { id: 1, ..empty }),
                (16, Header { fd_count: 1, ..empty }),
                (18, Header { reply_fds: 1, ..empty }),
            ] {
                let refused = DecodeError::FieldOverLimit { kind, offset, value: 1, limit: 0 };
                let is_used = match kind {
                    Kind::Request => true,
                    Kind::OneWay => offset != 18,
                    Kind::Reply => matches!(offset, 8 | 16),
                    Kind::Refusal | Kind::Done => offset == 8,
                    Kind::Note => matches!(offset, 6 | 8),
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
            assert_eq!(header.is_resent(), kind.asks());
        }
    }

    #[test]
    fn a_header_written_by_hand_is_checked() {
        let reply = Header::reply(9);
        let bytes = reply.encode_with(5, 2, 7).unwrap();
        let header = Header { len: 5, fd_count: 2, fd_sequence: 7, ..reply };
        assert_eq!(Header::decode(&bytes), Ok(header));
        for (header, fd_count, fd_sequence, offset, value, limit) in [
            (reply, 254, 0, 16, 254, 253),
            (Header::ready(), 1, 0, 16, 1, 0),
            (reply, 0, 1, 20, 1, 0),
        ] {
            let kind = header.kind();
            let refused = DecodeError::FieldOverLimit { kind, offset, value, limit };
            assert_eq!(header.encode_with(0, fd_count, fd_sequence), Err(refused));
        }
    }

    #[test]
    fn errors_say_their_numbers() {
        let (kind, offset) = (Kind::Request, 16);
        let over = DecodeError::FieldOverLimit { kind, offset, value: 254, limit: 253 };
        let long = DecodeError::TooLong { len: 254, capacity: 253 };
        for text in [over, long].map(|error| std::format!("{error}")) {
            assert!(text.contains("254") && text.contains("253"), "{text}");
        }
    }
}
