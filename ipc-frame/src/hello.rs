//! The payload of a worker's first frame: its version, its limits and its build.

use core::fmt;

use crate::fixed::{put, take};
use crate::header::MAX_FDS;

/// Offsets and widths of the fields, as for the header.
mod field {
    use core::ops::Range;

    pub(super) const VERSION: Range<usize> = 0..2;
    pub(super) const RESERVED: Range<usize> = VERSION.end..VERSION.end + 2;
    pub(super) const PAYLOAD_LEN: Range<usize> = RESERVED.end..RESERVED.end + 4;
    pub(super) const FD_COUNT: Range<usize> = PAYLOAD_LEN.end..PAYLOAD_LEN.end + 2;
    pub(super) const RESERVED_2: Range<usize> = FD_COUNT.end..FD_COUNT.end + 2;
    pub(super) const BUILD: Range<usize> = RESERVED_2.end..RESERVED_2.end + 16;
    pub(super) const END: usize = BUILD.end;
}

const _: () = assert!(field::END == 28, "WIRE.md says 28");

/// The payload of a [`Kind::Ready`](crate::Kind::Ready) frame: [`Hello::SIZE`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The longest frames that the sender accepts.
    pub limits: Limits,
    /// The sender's build.
    pub build: BuildId,
}

impl Hello {
    /// The version of the format that this crate writes, and the only one that it accepts.
    pub const VERSION: u16 = 1;
    /// Bytes of the payload on the wire.
    pub const SIZE: usize = field::END;

    /// Returns the payload's bytes, of version [`Hello::VERSION`].
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        put(&mut bytes, field::VERSION.start, Self::VERSION.to_le_bytes());
        put(&mut bytes, field::PAYLOAD_LEN.start, self.limits.payload_len.to_le_bytes());
        put(&mut bytes, field::FD_COUNT.start, self.limits.fd_count.to_le_bytes());
        put(&mut bytes, field::BUILD.start, self.build.0);
        bytes
    }

    /// Reads the payload of a peer. The version is checked first; the bytes after it are read
    /// only if it is [`Hello::VERSION`].
    ///
    /// # Errors
    /// All of [`HelloError`] but `BuildMismatch`.
    pub fn decode(payload: &[u8]) -> Result<Self, HelloError> {
        let wrong_len = HelloError::WrongLen { len: payload.len() };
        let version = u16::from_le_bytes(*payload.first_chunk().ok_or(wrong_len)?);
        if version != Self::VERSION {
            return Err(HelloError::VersionMismatch { ours: Self::VERSION, theirs: version });
        }
        let bytes: &[u8; Self::SIZE] = payload.try_into().map_err(|_| wrong_len)?;
        for offset in [field::RESERVED.start, field::RESERVED_2.start] {
            let reserved = u16::from_le_bytes(take(bytes, offset));
            if reserved != 0 {
                return Err(HelloError::ReservedNotZero { offset, reserved });
            }
        }
        let limits = Limits {
            payload_len: u32::from_le_bytes(take(bytes, field::PAYLOAD_LEN.start)),
            fd_count: u16::from_le_bytes(take(bytes, field::FD_COUNT.start)),
        };
        if limits.fd_count > MAX_FDS {
            return Err(HelloError::TooManyFds { fd_count: limits.fd_count });
        }
        Ok(Self { limits, build: BuildId(take(bytes, field::BUILD.start)) })
    }

    /// Compares this side's hello with the peer's and returns the limits that both must keep.
    /// Both sides get the same result.
    ///
    /// # Errors
    /// [`HelloError::BuildMismatch`] where the builds differ and neither is [`BuildId::ANY`].
    ///
    /// # Examples
    /// ```
    /// use ipc_frame::{BuildId, Hello, Limits};
    ///
    /// let ours = Hello { limits: Limits { payload_len: 4096, fd_count: 8 }, build: BuildId::ANY };
    /// # let theirs = Hello { limits: Limits { payload_len: 1024, fd_count: 253 }, ..ours };
    /// # let payload = theirs.encode();
    /// let agreed = ours.agree(&Hello::decode(&payload)?)?;
    /// assert_eq!(agreed, Limits { payload_len: 1024, fd_count: 8 });
    /// # Ok::<(), ipc_frame::HelloError>(())
    /// ```
    pub fn agree(&self, theirs: &Self) -> Result<Limits, HelloError> {
        if !self.build.matches(theirs.build) {
            return Err(HelloError::BuildMismatch { ours: self.build, theirs: theirs.build });
        }
        Ok(Limits {
            payload_len: self.limits.payload_len.min(theirs.limits.payload_len),
            fd_count: self.limits.fd_count.min(theirs.limits.fd_count),
        })
    }
}

/// The longest frame that one side accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the longest payload.
    pub payload_len: u32,
    /// Most descriptors of a frame, at most [`MAX_FDS`].
    pub fd_count: u16,
}

/// Identifies a build: programs of different builds may share types and still differ in meaning.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BuildId(pub [u8; 16]);

impl BuildId {
    /// The id that matches any other.
    pub const ANY: Self = Self([0; 16]);

    /// Returns whether the ids are equal or one of them is [`BuildId::ANY`].
    pub fn matches(self, other: Self) -> bool {
        self == other || self == Self::ANY || other == Self::ANY
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A peer that this program does not understand. Neither side need be at fault. Do not read any
/// other frame of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HelloError {
    /// The payload is not [`Hello::SIZE`] bytes long.
    WrongLen {
        /// Bytes of payload received.
        len: usize,
    },
    /// The peer speaks another version.
    VersionMismatch {
        /// Our version.
        ours: u16,
        /// The peer's.
        theirs: u16,
    },
    /// Reserved bytes are not zero.
    ReservedNotZero {
        /// Where in the payload.
        offset: usize,
        /// The two bytes as received.
        reserved: u16,
    },
    /// The peer claims to accept more descriptors than a frame can carry.
    TooManyFds {
        /// The number claimed; the limit is [`MAX_FDS`].
        fd_count: u16,
    },
    /// The peer's build differs.
    BuildMismatch {
        /// Our build.
        ours: BuildId,
        /// The peer's.
        theirs: BuildId,
    },
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongLen { len } => {
                write!(f, "a hello of {len} bytes instead of {}", Hello::SIZE)
            }
            Self::VersionMismatch { ours, theirs } => {
                write!(
                    f,
                    "the peer has version {theirs} of the format, this program version {ours}"
                )
            }
            Self::ReservedNotZero { offset, reserved } => {
                write!(f, "reserved bytes at {offset} hold {reserved:#06x} instead of zero")
            }
            Self::TooManyFds { fd_count } => {
                write!(f, "a limit of {fd_count} descriptors, over that of {MAX_FDS}")
            }
            Self::BuildMismatch { ours, theirs } => {
                write!(f, "the peer's build is {theirs}, this program's {ours}")
            }
        }
    }
}

impl core::error::Error for HelloError {}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Hello =
        Hello { limits: Limits { payload_len: 1 << 16, fd_count: 253 }, build: BuildId([7; 16]) };

    /// Whatever one byte is changed to, the payload is refused or encodes to those same bytes.
    #[test]
    fn hello_accepts_only_what_it_would_write() {
        // An interpreter looks at some bytes only.
        let bytes = || (0..=u8::MAX).step_by(if cfg!(miri) { 51 } else { 1 });
        for (at, byte) in (0..Hello::SIZE).flat_map(|at| bytes().map(move |byte| (at, byte))) {
            let mut bytes = HELLO.encode();
            bytes[at] = byte;
            if let Ok(hello) = Hello::decode(&bytes) {
                assert_eq!(hello.encode(), bytes, "byte {at} = {byte}");
            }
        }
    }

    #[test]
    fn both_sides_agree_on_the_same_limits() {
        let theirs = Hello { limits: Limits { payload_len: 9, fd_count: 300 }, ..HELLO };
        let agreed = Limits { payload_len: 9, fd_count: 253 };
        assert_eq!(HELLO.agree(&theirs), Ok(agreed));
        assert_eq!(theirs.agree(&HELLO), Ok(agreed));
    }

    #[test]
    fn builds_must_be_equal_unless_one_is_any() {
        let build = |build| Hello { build, ..HELLO };
        let other = build(BuildId([8; 16]));
        let mismatch = HelloError::BuildMismatch { ours: HELLO.build, theirs: other.build };
        assert_eq!(HELLO.agree(&other), Err(mismatch));
        assert!(HELLO.agree(&build(BuildId::ANY)).is_ok());
        assert!(build(BuildId::ANY).agree(&HELLO).is_ok());
    }
}
