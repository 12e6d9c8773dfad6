//! A handler's refusal: a code and a short text, and its encoding.

use core::fmt;

use ipc_barrier::process::Reason;
use ipc_frame::{Encode, MessageError, Text};
use ipc_transport::{Errno, SystemError};

use crate::call::Body;

/// Most bytes of text in a refusal.
const TEXT: usize = 60;

/// Why a handler did not do what was asked.
///
/// Codes of zero and above belong to the program, or are errno values if the refusal was made from
/// one. Negative codes belong to this library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: i32,
    /// The text to show, at most 60 bytes.
    pub text: Text<TEXT>,
}

impl Refusal {
    /// Bytes of the longest encoded refusal.
    pub(crate) const SIZE: usize = 4 + TEXT;

    /// The handler does not know the method.
    pub const UNKNOWN_METHOD: Self = Self::new(-1, "unknown method");
    /// The request's descriptors did not all arrive. The handler did not run.
    pub const FDS_LOST: Self = Self::new(-2, "descriptors lost: too many open files?");
    /// The reply does not fit in its space.
    pub const REPLY_TOO_LONG: Self = Self::new(-3, "the reply is too long");

    /// The request's bytes do not decode to the method's arguments. The handler did not run.
    pub const MALFORMED: Self = Self::new(-4, "the request's bytes do not decode");
    /// The method takes a different number of descriptors. The handler did not run.
    pub const WRONG_FDS: Self = Self::new(-5, "wrong number of descriptors");
    /// The handler's result cannot be encoded.
    pub const UNENCODABLE: Self = Self::new(-6, "the result cannot be encoded");
    /// The reply has more descriptors than the call allows.
    pub const TOO_MANY_FDS: Self = Self::new(-7, "more descriptors than the call allows");

    /// The text of a refusal whose code is the kernel's errno: the kernel refused to pass a
    /// descriptor of the reply, such as one of an io_uring. The handler has done its work.
    pub const UNSENDABLE_FDS: &str = "the reply's descriptors cannot be passed";

    /// Creates a refusal with a code that the program chooses. A longer text is cut.
    pub const fn new(code: i32, text: &str) -> Self {
        Self { code, text: Text::new(text) }
    }

    /// Encodes the refusal into a payload and returns its length, or zero if it does not fit.
    pub(crate) fn encode(&self, payload: &mut [u8]) -> usize {
        let pieces: [&[u8]; 2] = [&self.code.to_le_bytes(), self.text.as_str().as_bytes()];
        Body::Pieces(&pieces).encode(payload).unwrap_or(0)
    }

    /// Decodes what a worker sent, which may be any bytes.
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

/// An error without an errno has code 0 and keeps its text, cut at 48 bytes.
#[cfg(feature = "std")]
impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Errno(errno).into(),
            None => Self::new(0, Reason::from_error("", &error, "").text.as_str()),
        }
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

    /// Such an error became "system error".
    #[cfg(feature = "std")]
    #[test]
    fn repro_an_io_error_without_an_errno_keeps_its_text() {
        let torn = std::io::Error::other("the record is torn");
        assert_eq!(Refusal::from(torn), Refusal::new(0, "the record is torn"));
        let missing = std::io::Error::from_raw_os_error(2);
        assert_eq!(Refusal::from(missing), Refusal::new(2, "ENOENT"));
    }
}
