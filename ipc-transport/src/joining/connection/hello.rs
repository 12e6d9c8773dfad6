//! What each of two programs says of itself before anything else, and what the other makes of it.

use ipc_frame::{Header, Text};

use crate::joining::connection::errors::ConnectionError;

/// The version of the format, as `WIRE.md` of ipc-frame counts it.
const FORMAT: u32 = 1;

/// Bytes of a hello before the service's name.
const FIXED: usize = 4 + 4 + 2 + 8;

/// Most bytes of a service's name.
const NAME: usize = 32;

/// Bytes of the longest hello, with its header.
pub(super) const LONGEST: usize = Header::SIZE + FIXED + NAME;

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
    /// A program that takes no descriptors. Of the name the first 32 bytes count.
    pub const fn new(service: &str, version: u64) -> Self {
        Self { service: Text::new(service), version, fds: 0, bytes: 0 }
    }

    /// Lets frames to this side bring up to `count` descriptors, at most 253.
    #[must_use]
    pub const fn fds(self, count: u16) -> Self {
        let limit = ipc_frame::MAX_FDS;
        Self { fds: if count < limit { count } else { limit }, ..self }
    }

    /// Returns the numbers of the hello as they are sent, before the service's name.
    pub(super) fn fixed(&self) -> [u8; FIXED] {
        let mut bytes = [0; FIXED];
        let fields = [
            &FORMAT.to_le_bytes()[..],
            &self.bytes.to_le_bytes(),
            &self.fds.to_le_bytes(),
            &self.version.to_le_bytes(),
        ];
        let places = bytes.iter_mut();
        places.zip(fields.into_iter().flatten()).for_each(|(place, byte)| *place = *byte);
        bytes
    }

    /// Reads the peer's hello, and compares it with this one. The format comes first: what follows it
    /// has a meaning only if that is ours.
    pub(super) fn agree(&self, payload: &[u8]) -> Result<Self, ConnectionError> {
        let malformed = ConnectionError::Malformed;
        let (format, rest) = payload.split_first_chunk().ok_or(malformed)?;
        let (ours, theirs) = (FORMAT, u32::from_le_bytes(*format));
        if theirs != ours {
            return Err(ConnectionError::OtherFormat { ours, theirs });
        }
        let (bytes, rest) = rest.split_first_chunk().ok_or(malformed)?;
        let (fds, rest) = rest.split_first_chunk().ok_or(malformed)?;
        let (version, name) = rest.split_first_chunk().ok_or(malformed)?;
        let theirs = Self {
            service: Text::from_bytes(name),
            version: u64::from_le_bytes(*version),
            fds: u16::from_le_bytes(*fds),
            bytes: u32::from_le_bytes(*bytes),
        };
        let is_whole = theirs.service.as_str().len() == name.len();
        let is_possible = theirs.fds <= ipc_frame::MAX_FDS && theirs.longest_payload().is_some();
        if !is_whole || !is_possible {
            return Err(malformed);
        }
        if theirs.service != self.service {
            let (ours, theirs) = (self.service, theirs.service);
            return Err(ConnectionError::OtherService { ours, theirs });
        }
        if theirs.version != self.version {
            let (ours, theirs) = (self.version, theirs.version);
            return Err(ConnectionError::OtherVersion { ours, theirs });
        }
        Ok(theirs)
    }

    /// Returns how long a payload to this side may be.
    pub(super) fn longest_payload(&self) -> Option<usize> {
        usize::try_from(self.bytes).unwrap_or(usize::MAX).checked_sub(Header::SIZE)
    }
}
