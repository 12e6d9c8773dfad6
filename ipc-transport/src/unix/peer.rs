//! The credentials of the process at the other end of a socket, from the kernel.

#![expect(unsafe_code, reason = "a pidfd arrives as a number")]

use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;

use crate::contract::SystemError;
use crate::descriptor::above_stdio;
use crate::unix::options::{SO_PEERCRED, SO_PEERPIDFD, option};
use crate::unix::socket::Socket;

/// The process that made the connection, with its credentials at that time (`SO_PEERCRED`,
/// unix(7)). For a socket pair, this is the process that created the pair.
#[doc(alias = "SO_PEERCRED")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The process id; zero if this pid namespace does not show the process.
    pub pid: i32,
    /// The effective user id.
    pub uid: u32,
    /// The effective group id.
    pub gid: u32,
}

impl Peer {
    /// Returns the credentials of the peer.
    ///
    /// # Errors
    /// `ENOSYS` or `EPERM` in a sandbox that forbids getsockopt(2).
    pub fn of(socket: &impl Socket) -> Result<Self, SystemError> {
        Self::of_fd(socket.as_fd())
    }

    /// For the crates of this project only: does the same without checking the descriptor.
    #[doc(hidden)]
    pub fn of_fd(socket: BorrowedFd<'_>) -> Result<Self, SystemError> {
        // rustix's UCred does not allow a process id of zero.
        let [pid, uid, gid] =
            option(socket, SO_PEERCRED).map_err(SystemError::of("getsockopt SO_PEERCRED"))?;
        Ok(Self { pid: pid.cast_signed(), uid, gid })
    }

    /// Returns a close-on-exec pidfd of that process, which becomes readable when the process ends;
    /// `None` before kernel 6.5 (`SO_PEERPIDFD`). Unlike a process id, a pidfd never refers to
    /// another process.
    ///
    /// # Errors
    /// `ESRCH` if the process has already ended, `EMFILE`.
    #[doc(alias = "SO_PEERPIDFD")]
    pub fn pidfd_of(socket: &impl Socket) -> Result<Option<OwnedFd>, SystemError> {
        match option(socket.as_fd(), SO_PEERPIDFD) {
            Ok([number]) => {
                let number: RawFd = number.cast_signed();
                // SAFETY: the kernel has just opened this descriptor for this call alone.
                let fd = unsafe { OwnedFd::from_raw_fd(number) };
                above_stdio(fd).map(Some)
            }
            Err(Errno::NOPROTOOPT) => Ok(None),
            Err(error) => Err(SystemError::of("getsockopt SO_PEERPIDFD")(error)),
        }
    }
}
