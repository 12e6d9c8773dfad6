//! A handler's refusal: a code and a short text, on the wire and off it.

use core::fmt;

use ipc_barrier::process::Reason;
use ipc_frame::{Encode, MessageError, Text};
use ipc_transport::{Errno, SystemError};

use crate::call::Body;

/// Bytes of text in a refusal.
const TEXT: usize = 60;

/// Why a handler did not do what it was asked for.
///
/// Codes of zero and above are the program's own, or the kernel's error numbers where the refusal
/// was made from one; those below are this library's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: i32,
    /// What to show, at most 60 bytes.
    pub text: Text<TEXT>,
}

impl Refusal {
    /// Bytes of the longest refusal on the wire.
    pub(crate) const SIZE: usize = 4 + TEXT;

    /// The handler does not know the method.
    pub const UNKNOWN_METHOD: Self = Self::new(-1, "unknown method");
    /// The request's descriptors did not all arrive, so that the handler was not asked.
    pub const FDS_LOST: Self = Self::new(-2, "descriptors were lost on the way");
    /// The reply does not fit in the room for it.
    pub const REPLY_TOO_LONG: Self = Self::new(-3, "the reply is too long");

    /// The request's bytes are no arguments of its method, so that the handler was not asked.
    pub const MALFORMED: Self = Self::new(-4, "the request's bytes have no meaning");
    /// The method takes another number of descriptors, so that the handler was not asked.
    pub const WRONG_FDS: Self = Self::new(-5, "a wrong number of descriptors");
    /// The handler's result cannot be written.
    pub const UNENCODABLE: Self = Self::new(-6, "the result cannot be written");
    /// The reply may not bring that many descriptors, or none at all.
    pub const TOO_MANY_FDS: Self = Self::new(-7, "more descriptors than the call allows");

    /// The text of a refusal whose code is the kernel's number: a descriptor of the reply cannot be
    /// passed, an io_uring's for example. The handler has done its work.
    pub const UNSENDABLE_FDS: &str = "the reply's descriptors cannot be passed";

    /// A refusal with a code of the program's own. A longer text is cut.
    pub const fn new(code: i32, text: &str) -> Self {
        Self { code, text: Text::new(text) }
    }

    /// Writes the refusal into a payload and returns its length, zero where there is no room.
    pub(crate) fn encode(&self, payload: &mut [u8]) -> usize {
        let pieces: [&[u8]; 2] = [&self.code.to_le_bytes(), self.text.as_str().as_bytes()];
        Body::Pieces(&pieces).encode(payload).unwrap_or(0)
    }

    /// Reads what a worker has sent, whatever it is.
    pub(crate) fn decode(payload: &[u8]) -> Self {
        let (code, text) = payload.split_first_chunk().unwrap_or((&[0; 4], &[]));
        Self { code: i32::from_le_bytes(*code), text: Text::from_bytes(text) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.text, self.code)
    }
}

impl core::error::Error for Refusal {}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        Self::new("prepare", Errno(refusal.code), refusal.text.as_str())
    }
}

impl From<MessageError> for Refusal {
    fn from(_: MessageError) -> Self {
        Self::MALFORMED
    }
}

impl From<SystemError> for Refusal {
    fn from(error: SystemError) -> Self {
        Self::new(error.errno.0, error.call)
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::new(errno.0, errno.name().unwrap_or("system error"))
    }
}

impl From<rustix::io::Errno> for Refusal {
    fn from(errno: rustix::io::Errno) -> Self {
        Errno::from(errno).into()
    }
}

#[cfg(feature = "std")]
impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Errno::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_survives_the_wire() {
        let refusal = Refusal::new(-7, "no such file or directory");
        let mut payload = [0; Refusal::SIZE];
        let len = refusal.encode(&mut payload);
        assert_eq!(Refusal::decode(&payload[..len]), refusal);
    }

    #[test]
    fn whatever_a_worker_sends_is_a_refusal() {
        assert_eq!(Refusal::decode(b"").code, 0);
        assert_eq!(Refusal::decode(b"\x05\0\0\0\xff\xfe").text.as_str(), "");
        assert_eq!(Refusal::decode(&[b'a'; 500]).text.as_str().len(), TEXT);
    }
}
