//! What each of two programs says of itself before anything else, and what the other makes of it.

use core::fmt;

use ipc_frame::{Header, MAX_FDS, Text};

/// The version of the format, as `WIRE.md` of ipc-frame counts it.
pub(super) const FORMAT: u32 = 1;

/// Most bytes of a service's name.
const NAME: usize = 32;

/// Bytes of the longest hello, with its header.
pub(super) const LONGEST: usize = Header::SIZE + 4 + 4 + 2 + 8 + NAME;

/// What a program says of itself when a [`Connection`](crate::Connection) opens. Service and version
/// must be the same on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hello {
    /// The name of the service.
    pub service: Text<NAME>,
    /// The version of the service, or a fingerprint of it.
    pub version: u64,
    /// Most descriptors that a frame to this side may bring.
    pub fds: u16,
    /// Bytes of the longest frame to this side, with its header of 24 bytes. A new connection fills
    /// this in.
    pub bytes: u32,
}

impl Hello {
    /// A program that takes no descriptors. Only the first 32 bytes of the name count.
    pub const fn new(service: &str, version: u64) -> Self {
        Self { service: Text::new(service), version, fds: 0, bytes: 0 }
    }

    /// Lets frames to this side bring up to `count` descriptors, at most 253.
    #[must_use]
    pub const fn fds(self, count: u16) -> Self {
        Self { fds: if count < MAX_FDS { count } else { MAX_FDS }, ..self }
    }

    /// Gives the hello in the pieces in which it is sent.
    pub(super) fn encode<R>(&self, take: impl FnOnce(&[&[u8]]) -> R) -> R {
        let (bytes, fds) = (self.bytes.to_le_bytes(), self.fds.to_le_bytes());
        let (version, service) = (self.version.to_le_bytes(), self.service.as_str().as_bytes());
        take(&[&FORMAT.to_le_bytes(), &bytes, &fds, &version, service])
    }

    /// Reads what follows the format.
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

    /// Returns how long a payload to this side may be.
    pub(super) fn longest_payload(&self) -> Option<usize> {
        usize::try_from(self.bytes).unwrap_or(usize::MAX).checked_sub(Header::SIZE)
    }
}

impl fmt::Display for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} version {}", self.service, self.version)
    }
}
