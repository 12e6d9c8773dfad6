//! The contract that every transport keeps.

use core::fmt;

use static_assertions::{assert_impl_all, assert_obj_safe};

use crate::contract::errno::SystemError;

/// What a call of a transport answers; see [`Transport`].
pub(crate) type Moved<T = usize> = Result<Option<T>, TransportError>;

/// A two-way channel of bytes that never blocks.
///
/// The contract, which the feature `laws` turns into tests for any transport:
///
/// - **Order.** Bytes arrive in the order in which they were sent, none twice, none missing, each
///   direction apart from the other. Where one send ends and the next begins is not kept.
/// - **Counts.** `Ok(Some(n))` means that the first `n` bytes offered were taken, or that `n`
///   bytes lie at the start of the space; `n` may be any number from 1 to what was offered. A
///   count says what the transport has taken, not what the peer has received.
/// - **Would block.** `Ok(None)` means that nothing was taken and nothing changed: the same call
///   may be made again later. So does an offer of no bytes, or of no space.
/// - **Giving up.** Calls keep no state: after any answer retry, change or abandon the call without
///   losing or duplicating bytes.
/// - **Death.** What a peer had sent before it ended is received first, and
///   [`TransportError::Closed`] from then on. Sending may return `Closed` earlier, and may take
///   some bytes before where buffers lie on the way. After that, receive until receiving returns
///   `Closed` too. No signal is raised.
/// - **Readiness.** Whenever receiving would give something, the transport's descriptor, if it has
///   one, shows input, or [`holds_input`](Self::holds_input) says so.
/// - **Interruption.** Calls that a signal interrupts are repeated inside.
/// - **Errors.** After any error other than `Closed` and
///   [`TransportError::PacketTooLong`] nothing of that call was taken, and it may be made again.
pub trait Transport {
    /// Sends the first bytes of the pieces, in order, as many as are taken at once.
    ///
    /// # Errors
    /// [`TransportError::Closed`] once the peer cannot receive any more.
    fn send(&mut self, pieces: &[&[u8]]) -> Result<Option<usize>, TransportError>;

    /// Receives bytes into the start of `space`.
    ///
    /// # Errors
    /// [`TransportError::Closed`] once everything the peer had sent was received and it has
    /// ended or closed.
    fn receive(&mut self, space: &mut [u8]) -> Result<Option<usize>, TransportError>;

    /// Returns whether there is something to receive that the descriptor does not show. Do not wait
    /// for the descriptor then.
    fn holds_input(&self) -> bool {
        false
    }
}

assert_obj_safe!(Transport);

/// What can go wrong on the way to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportError {
    /// The peer has closed its end or has ended. Final.
    Closed,
    /// More descriptors than one message carries. The caller's fault; nothing was sent.
    TooManyFds {
        /// Descriptors offered.
        count: usize,
    },
    /// The system is short of something for the moment: memory (`ENOMEM`, `ENOBUFS`), or room for
    /// this user's descriptors in flight (`ETOOMANYREFS`, unix(7)). The same call may be made again
    /// a little later.
    Exhausted(SystemError),
    /// The next frame owns descriptors, and the transport is used without them. Nothing of the
    /// frame was sent: retire or withdraw it, or send it with descriptors.
    CannotPassFds {
        /// Descriptors of the frame.
        count: usize,
    },
    /// The next frame announces descriptors that were taken from it. Nothing of it was sent:
    /// retire or withdraw it.
    FdsGone {
        /// Descriptors announced.
        expected: u16,
        /// Descriptors that are left.
        held: usize,
    },
    /// The system does not pass these descriptors: `EINVAL` for an io_uring, `EPERM` where the
    /// receiver takes none (`SO_PASSRIGHTS` is off, kernel 6.16), `EBADF`. It concerns the frame
    /// that has them: retire or withdraw it, and the next one can be sent.
    FdsRefused(SystemError),
    /// A packet that had to be cut, so that bytes are lost. The peer's fault, which sends longer
    /// packets than was agreed on, and final: every later receive tells the same.
    PacketTooLong {
        /// Bytes in the packet.
        len: usize,
        /// Bytes that there was room for.
        capacity: usize,
    },
    /// A cursor or a length in shared memory that cannot be. The peer's fault, which writes there, and
    /// final.
    BrokenRing,
    /// Any other failure of the system.
    System(SystemError),
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the peer has closed its end"),
            Self::TooManyFds { count } => {
                write!(f, "{count} descriptors, over the limit of {}", ipc_frame::MAX_FDS)
            }
            Self::Exhausted(error) => write!(f, "the system is short of resources: {error}"),
            Self::CannotPassFds { count } => {
                write!(f, "a frame with {count} descriptors, sent without them")
            }
            Self::FdsGone { expected, held } => {
                write!(f, "a frame has {held} of {expected} descriptors left")
            }
            Self::FdsRefused(error) => write!(f, "the descriptors cannot be passed: {error}"),
            Self::PacketTooLong { len, capacity } => {
                write!(f, "a packet of {len} bytes, over the limit of {capacity}")
            }
            Self::BrokenRing => f.write_str("the peer has spoilt the ring"),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for TransportError {}

assert_impl_all!(TransportError: Copy, Send, Sync);
