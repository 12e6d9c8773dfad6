//! The contract of every transport.

use core::fmt;

use static_assertions::{assert_impl_all, assert_obj_safe};

use crate::contract::errno::SystemError;

/// The result of a transport's call; see [`Transport`].
pub(crate) type Moved<T = usize> = Result<Option<T>, TransportError>;

/// A two-way channel of bytes that never blocks.
///
/// The contract, which the feature `laws` turns into tests for any transport:
///
/// - **Order.** Bytes arrive in the order in which they were sent, without loss or duplication. The
///   two directions are independent. The boundaries between sends are not preserved.
/// - **Counts.** From a send, `Ok(Some(n))` means that the transport took the first `n` bytes. From
///   a receive, it means that `n` bytes are at the start of the space. `n` is at least 1, and at
///   most the length that was offered. The peer need not have received the bytes that the transport
///   took.
/// - **Would block.** `Ok(None)` means that nothing was moved and nothing changed. Make the same
///   call again later. A call with no bytes or no space returns it too.
/// - **Abandoning.** Calls keep no state: after any result retry, change or abandon the call
///   without losing or duplicating bytes.
/// - **Death.** After the peer has ended, receiving first returns the bytes that it had sent, and
///   [`TransportError::Closed`] from then on. Sending may return `Closed` earlier, or may first
///   take some bytes that the peer never receives. After that, receive until receiving returns
///   `Closed` too. No signal is raised.
/// - **Readiness.** This applies to transports with a descriptor. Whenever a receive would return
///   bytes or `Closed`, the descriptor polls readable, or [`holds_input`](Self::holds_input)
///   returns true.
/// - **Interruption.** A call that a signal interrupts is repeated internally (`EINTR`).
/// - **Errors.** Every error except `Closed` and [`TransportError::PacketTooLong`] means that the
///   call moved nothing. You can make it again.
pub trait Transport {
    /// Sends bytes from the start of the pieces, in order, as many as the transport takes at once.
    ///
    /// # Errors
    /// [`TransportError::Closed`] once the peer can no longer receive.
    fn send(&mut self, pieces: &[&[u8]]) -> Result<Option<usize>, TransportError>;

    /// Receives bytes into the start of `space`.
    ///
    /// # Errors
    /// [`TransportError::Closed`] once the peer has closed or ended and all its bytes were
    /// received.
    fn receive(&mut self, space: &mut [u8]) -> Result<Option<usize>, TransportError>;

    /// Returns whether there is input that polling the descriptor does not show. If so, receive
    /// before waiting for the descriptor.
    fn holds_input(&self) -> bool {
        false
    }
}

assert_obj_safe!(Transport);

/// Why a transport could not send or receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportError {
    /// The peer has closed its end or has ended. This is final.
    Closed,
    /// The call has more descriptors than one message can carry. Nothing was sent.
    TooManyFds {
        /// Descriptors in the call.
        count: usize,
    },
    /// A temporary shortage: of memory (`ENOMEM`, `ENOBUFS`), or because this user has too many
    /// descriptors in flight (`ETOOMANYREFS`, unix(7)). Retry the call a little later.
    Exhausted(SystemError),
    /// The next frame owns descriptors, but the call that sends it passes none. No byte of the
    /// frame was sent: retire or withdraw it, or send it with
    /// [`flush_with`](crate::Outbox::flush_with).
    CannotPassFds {
        /// Descriptors that the frame owns.
        count: usize,
    },
    /// The next frame announces descriptors that it no longer owns. No byte of it was sent: retire
    /// or withdraw it.
    FdsGone {
        /// Descriptors that the header announces.
        expected: u16,
        /// Descriptors that the frame still owns.
        held: usize,
    },
    /// The kernel refuses to pass these descriptors: `EINVAL` for an io_uring, `EPERM` if the
    /// receiver has switched `SO_PASSRIGHTS` off (kernel 6.16), `EBADF`. Retire or withdraw the
    /// frame that owns them; later frames can then be sent.
    FdsRefused(SystemError),
    /// A packet did not fit, so bytes were lost: the peer sends longer packets than agreed. This is
    /// final, and every later receive returns it.
    PacketTooLong {
        /// Bytes in the packet.
        len: usize,
        /// Bytes that fit.
        capacity: usize,
    },
    /// The peer wrote an impossible cursor or length to the shared memory, or did not send the
    /// descriptors of the next bytes. This is final.
    BrokenRing,
    /// Any other system call that failed.
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
                write!(f, "the next frame owns {count} descriptors: use flush_with")
            }
            Self::FdsGone { expected, held } => {
                write!(f, "the next frame owns only {held} of {expected} descriptors")
            }
            Self::FdsRefused(error) => write!(f, "the descriptors cannot be passed: {error}"),
            Self::PacketTooLong { len, capacity } => {
                write!(f, "a packet of {len} bytes, over the limit of {capacity}")
            }
            Self::BrokenRing => f.write_str("the peer has corrupted the ring"),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for TransportError {}

assert_impl_all!(TransportError: Copy, Send, Sync);
