//! SOCK_SEQPACKET sockets: bytes in order, moved in packets, with descriptors.

use core::ops::Range;

use rustix::fd::BorrowedFd;
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::SocketType;

use crate::contract::{Fds, Moved, Received, TransportError};
use crate::unix::calls::{Calls, system};
use crate::unix::socket::{Kind, Unix};
use crate::waiting::is_hung_up;

/// The most empty packets in a row: more than a socket's default buffer holds.
const EMPTY_PACKETS: usize = 1024;

/// One end of an `AF_UNIX` SOCK_SEQPACKET socket (unix(7)).
///
/// It keeps the contract of [`Transport`](crate::Transport), which has no packets. A call sends one
/// packet of up to `PACKET` bytes and leaves the rest to the next call. If the receiver's space is
/// too small for a packet, the rest goes into an internal buffer of `PACKET` bytes, in the same
/// system call, and later calls return it. So both ends must use the same `PACKET`. The system's
/// default buffers allow packets of up to 212,960 bytes. If the buffers are smaller, smaller
/// packets are sent.
///
/// Bytes in the internal buffer do not make the descriptor readable: call
/// [`holds_input`](crate::Transport::holds_input) before waiting for input.
///
/// An empty packet looks like the end of the connection, so it is never sent, and it is skipped on
/// receipt. If a peer sends over 1,000 in a row, receiving fails with `EPROTO` from then on.
///
/// ```
/// use ipc_transport::{Seqpacket, Transport};
///
/// let (mut left, mut right) = Seqpacket::<4096>::pair()?;
/// left.send(&[b"he", b"llo"])?;
/// let mut space = [0; 3];
/// assert_eq!(right.receive(&mut space)?, Some(3));
/// assert_eq!(right.receive(&mut space)?, Some(2), "the rest is kept");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "SOCK_SEQPACKET")]
pub type Seqpacket<const PACKET: usize = 4096> = Unix<Packets<PACKET>>;

/// The state of a [`Seqpacket`].
#[derive(Debug)]
pub struct Packets<const PACKET: usize> {
    /// The length of the longest packet that the kernel has not refused.
    longest: usize,
    /// The range of `rest` that holds the part of a packet that did not fit in the caller's space.
    left: Range<usize>,
    rest: [u8; PACKET],
    /// Set when the peer sent a packet that did not fit.
    failed: Option<TransportError>,
}

impl<const PACKET: usize> Packets<PACKET> {
    /// Returns the rest of the last packet.
    fn take_rest(&mut self, space: &mut [u8]) -> Option<Received> {
        let len = self.left.len().min(space.len());
        let rest = self.rest.get(self.left.start..)?.get(..len)?;
        space.get_mut(..len)?.copy_from_slice(rest);
        self.left.start += len;
        (len > 0).then_some(Received { len, fds_truncated: false })
    }

    /// Splits a packet into the part in the caller's space and the part in `rest`.
    fn taken(&mut self, received: Received, space: usize) -> Result<Received, TransportError> {
        let capacity = space.saturating_add(PACKET);
        if received.len > capacity {
            let error = TransportError::PacketTooLong { len: received.len, capacity };
            self.failed = Some(error);
            return Err(error);
        }
        self.left = 0..received.len.saturating_sub(space);
        Ok(Received { len: received.len.min(space), ..received })
    }
}

/// Distinguishes the end from an empty packet: the peer's sending direction is closed and no byte
/// is left in it.
fn is_over(fd: BorrowedFd<'_>) -> Result<bool, TransportError> {
    if !is_hung_up(fd).map_err(TransportError::System)? {
        return Ok(false);
    }
    // This counts all packets, and no more can be added.
    Ok(ioctl_fionread(fd).map_err(system("ioctl FIONREAD"))? == 0)
}

impl<const PACKET: usize> Kind for Packets<PACKET> {
    const KIND: SocketType = SocketType::SEQPACKET;

    fn new() -> Self {
        const { assert!(PACKET > 0, "a packet holds at least one byte") };
        Self { longest: PACKET, left: 0..0, rest: [0; PACKET], failed: None }
    }

    fn send(&mut self, to: Calls<'_>, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        loop {
            match to.send(pieces, self.longest, fds) {
                Err(TransportError::System(error))
                    if error.errno == Errno::MSGSIZE.into() && self.longest > 1 =>
                {
                    // The packet is over the socket's buffer, which was made smaller than the
                    // default.
                    self.longest /= 2;
                }
                answer => return answer,
            }
        }
    }

    fn receive(&mut self, from: Calls<'_>, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        if space.is_empty() {
            return Ok(None);
        }
        if let Some(received) = self.take_rest(space) {
            return Ok(Some(received));
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        let (room, before) = (space.len(), fds.len());
        for _ in 0..EMPTY_PACKETS {
            match from.receive_with([&mut *space, &mut self.rest], fds) {
                Ok(Some(received)) if received.len > 0 => {
                    let taken = self.taken(received, room);
                    return taken.map(Some).inspect_err(|_| fds.truncate(before));
                }
                // ECONNRESET comes once, before the last packets.
                Ok(Some(_)) | Err(TransportError::Closed) => {
                    if is_over(from.fd)? {
                        return Err(TransportError::Closed);
                    }
                }
                nothing => return nothing,
            }
        }
        Err(*self.failed.insert(system("recvmsg")(Errno::PROTO)))
    }

    fn holds_input(&self) -> bool {
        !self.left.is_empty() || self.failed.is_some()
    }
}
