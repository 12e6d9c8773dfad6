//! The contract that every transport keeps.

use core::fmt;

use crate::errno::SystemError;

/// A two-way channel of bytes that never blocks.
///
/// The contract, which the laws in `tests/` state one by one:
///
/// - **Order.** Bytes arrive in the order in which they were sent, none twice, none missing.
/// - **Counts.** `Ok(Some(n))` means that the first `n` bytes offered were taken, or that `n`
///   bytes lie at the start of the space; `n` may be any number from 1 to what was offered.
/// - **Would block.** `Ok(None)` means that nothing was taken and nothing changed: the same call
///   may be made again later. So does an offer of no bytes, or of no space.
/// - **Death.** What a peer had sent before it ended is received first, and
///   [`TransportError::Closed`] after it, for ever. Sending may tell `Closed` earlier: a sender
///   that is told so still receives until receiving says so too.
/// - **Interruption.** Signals are not seen: a call that was interrupted is made again inside.
/// - **Errors.** After any error other than `Closed` nothing of that call was taken.
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
}

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
    /// The system holds too many descriptors in flight for this user (`ETOOMANYREFS`, unix(7)).
    /// Nothing was sent; the same call may be made again once receivers have caught up.
    TooManyInFlight,
    /// The receiver refuses descriptors (`EPERM`: `SO_PASSRIGHTS` is off, kernel 6.16).
    FdsRefused,
    /// A packet that had to be cut, so that bytes are lost. The peer's fault, which sends longer
    /// packets than was agreed on, and final: every later receive tells the same.
    PacketTooLong {
        /// Bytes in the packet.
        len: usize,
        /// Bytes that there was room for.
        capacity: usize,
    },
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
            Self::TooManyInFlight => f.write_str("too many descriptors in flight"),
            Self::FdsRefused => f.write_str("the receiver refuses descriptors"),
            Self::PacketTooLong { len, capacity } => {
                write!(f, "a packet of {len} bytes, over the limit of {capacity}")
            }
            Self::System(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for TransportError {}
