//! SOCK_SEQPACKET sockets: bytes in order, moved in packets, with descriptors.

use core::ops::Range;

use rustix::fd::BorrowedFd;
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::SocketType;

use crate::contract::{Fds, Moved, Received, TransportError};
use crate::unix::calls::{Calls, system};
use crate::unix::socket::{Kind, Unix};
use crate::waiting::is_hung_up;

/// Most empty packets in a row: more than a socket's usual buffer holds.
const EMPTY_PACKETS: usize = 1024;

/// One end of an `AF_UNIX` SOCK_SEQPACKET socket (unix(7)).
///
/// It keeps the contract of bytes: a call sends one packet of up to `PACKET` bytes and leaves the
/// rest for the next, and a packet for which the receiver's space is too small is given out in
/// parts. What does not fit goes into `PACKET` bytes of the receiver's own, in the same system
/// call, so that both ends must be made with the same `PACKET`. At most 212,960 bytes pass with
/// the system's usual buffers; where it allows less, smaller packets are sent.
///
/// The rest of a packet, kept by the receiver, does not make the descriptor readable: look at
/// [`holds_input`](crate::Transport::holds_input) before waiting for input.
///
/// An empty packet, which reads like the end, is never sent and is passed over on receipt. A peer
/// that sends over 1,000 in a row is not one: receiving fails with `EPROTO` from then on.
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

/// What a [`Seqpacket`] keeps.
#[derive(Debug)]
pub struct Packets<const PACKET: usize> {
    /// The longest packet that the kernel has not yet refused.
    longest: usize,
    /// Where the part of a packet lies in `rest` that found no room in the caller's space.
    left: Range<usize>,
    rest: [u8; PACKET],
    /// The peer sent a packet that had to be cut.
    failed: Option<TransportError>,
}

impl<const PACKET: usize> Packets<PACKET> {
    /// Gives out what is left of the packet before.
    fn take_rest(&mut self, space: &mut [u8]) -> Option<Received> {
        let len = self.left.len().min(space.len());
        let rest = self.rest.get(self.left.start..)?.get(..len)?;
        space.get_mut(..len)?.copy_from_slice(rest);
        self.left.start += len;
        (len > 0).then_some(Received { len, fds_truncated: false })
    }

    /// Splits a packet into what lies in the caller's space and what lies in `rest`.
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

/// Tells the end from an empty packet: the sending direction is closed for good and no byte is
/// left in it.
fn is_over(fd: BorrowedFd<'_>) -> Result<bool, TransportError> {
    if !is_hung_up(fd).map_err(TransportError::System)? {
        return Ok(false);
    }
    // Of several packets the sum. Nothing can be added any more.
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
                    // Over the socket's buffer, which somebody has made smaller.
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
                // ECONNRESET is told once and first; the last packets come after it.
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
