//! The first frame of each side: service, version and limits.

use core::fmt;

use ipc_frame::{Header, MAX_FDS, Text};

/// The version of the frame format, as specified in ipc-frame's `WIRE.md`.
pub(super) const FORMAT: u32 = 1;

/// The longest name of a service, in bytes.
const NAME: usize = 32;

/// The length of the longest hello in bytes, including its header.
pub(super) const LONGEST: usize = Header::SIZE + 4 + 4 + 2 + 8 + NAME;

/// The first message of each program on a [`Connection`](crate::Connection). Service and version
/// must be the same on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hello {
    /// The name of the service.
    pub service: Text<NAME>,
    /// The version of the service, or a fingerprint of it.
    pub version: u64,
    /// The most descriptors that a frame to this side may have.
    pub fds: u16,
    /// The longest frame to this side in bytes, including its header of 24 bytes. A new connection
    /// fills this in.
    pub bytes: u32,
}

impl Hello {
    /// A hello that accepts no descriptors. The name is cut after 32 bytes.
    pub const fn new(service: &str, version: u64) -> Self {
        Self { service: Text::new(service), version, fds: 0, bytes: 0 }
    }

    /// Lets frames to this side have up to `count` descriptors, at most 253.
    #[must_use]
    pub const fn fds(self, count: u16) -> Self {
        Self { fds: if count < MAX_FDS { count } else { MAX_FDS }, ..self }
    }

    /// Passes the encoded hello to `take`, in pieces.
    pub(super) fn encode<R>(&self, take: impl FnOnce(&[&[u8]]) -> R) -> R {
        let (bytes, fds) = (self.bytes.to_le_bytes(), self.fds.to_le_bytes());
        let (version, service) = (self.version.to_le_bytes(), self.service.as_str().as_bytes());
        take(&[&FORMAT.to_le_bytes(), &bytes, &fds, &version, service])
    }

    /// Decodes everything after the format version.
    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let (bytes, rest) = payload.split_first_chunk()?;
        let (fds, rest) = rest.split_first_chunk()?;
        let (version, service) = rest.split_first_chunk()?;
        let version = u64::from_le_bytes(*version);
        let (fds, bytes) = (u16::from_le_bytes(*fds), u32::from_le_bytes(*bytes));
        let hello = Self { service: Text::from_bytes(service), version, fds, bytes };
        let is_whole = hello.service.as_str().len() == service.len();
        (is_whole && fds <= MAX_FDS && hello.longest_payload().is_some()).then_some(hello)
    }

    /// Returns the longest payload to this side, in bytes.
    pub(super) fn longest_payload(&self) -> Option<usize> {
        usize::try_from(self.bytes).unwrap_or(usize::MAX).checked_sub(Header::SIZE)
    }
}

impl fmt::Display for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} version {}", self.service, self.version)
    }
}
