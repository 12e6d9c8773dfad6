//! Who is at the other end of a socket, by the kernel's own word.

#![expect(unsafe_code, reason = "a pidfd arrives as a number")]

use rustix::fd::{FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;

use crate::contract::SystemError;
use crate::descriptor::above_stdio;
use crate::unix::options::{SO_PEERCRED, SO_PEERPIDFD, option};
use crate::unix::socket::Socket;

/// The process that made the connection, as it was then (`SO_PEERCRED`, unix(7)). For a pair of
/// sockets that is the process that made the pair.
#[doc(alias = "SO_PEERCRED")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The process number; zero where the process cannot be seen from this pid namespace.
    pub pid: i32,
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
}

impl Peer {
    /// Asks who is at the other end.
    ///
    /// # Errors
    /// `ENOSYS` and the like from sandboxes.
    pub fn of(socket: &impl Socket) -> Result<Self, SystemError> {
        // Not as rustix's UCred, whose process number may not be zero.
        let [pid, uid, gid] = option(socket.as_fd(), SO_PEERCRED)
            .map_err(SystemError::of("getsockopt SO_PEERCRED"))?;
        Ok(Self { pid: pid.cast_signed(), uid, gid })
    }

    /// Returns a pidfd of that process, which becomes readable at its end, close-on-exec;
    /// `None` where the kernel has none to give (before 6.5). A process number alone may be
    /// another process's by the time that it is used.
    ///
    /// # Errors
    /// `ESRCH` where the process has ended already, `EMFILE`.
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
