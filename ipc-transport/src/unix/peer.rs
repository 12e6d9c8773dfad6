//! Who is at the other end of a socket, by the kernel's own word.

#![expect(unsafe_code, reason = "socket options that hold no valid Pid, or that rustix lacks")]

use core::mem::MaybeUninit;

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use syscalls::{Sysno, syscall};

use crate::contract::errno::SystemError;
use crate::descriptor::above_stdio;
use crate::unix::socket::Socket;

const MIPS: bool = cfg!(any(
    target_arch = "mips",
    target_arch = "mips32r6",
    target_arch = "mips64",
    target_arch = "mips64r6"
));
const SPARC: bool = cfg!(any(target_arch = "sparc", target_arch = "sparc64"));
const POWERPC: bool = cfg!(any(target_arch = "powerpc", target_arch = "powerpc64"));

const SOL_SOCKET: usize = if MIPS || SPARC { 0xffff } else { 1 };
const SO_PEERPIDFD: usize = if SPARC { 0x56 } else { 77 };
const SO_PEERCRED: usize = match (MIPS, SPARC, POWERPC) {
    (true, _, _) => 18,
    (_, true, _) => 0x40,
    (_, _, true) => 21,
    _ => 17,
};

/// The process that made the connection, as it was then (`SO_PEERCRED`, unix(7)). For a pair of
/// sockets that is the process that made the pair.
#[doc(alias = "SO_PEERCRED")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Reads an option that consists of `N` words.
fn option<const N: usize>(fd: BorrowedFd<'_>, name: usize) -> Result<[u32; N], Errno> {
    let mut words = MaybeUninit::new([0_u32; N]);
    let mut len: u32 = const {
        assert!(N < 16);
        #[expect(clippy::cast_possible_truncation, reason = "less than 64")]
        let len = size_of::<[u32; N]>() as u32;
        len
    };
    let (value, expected) = (words.as_mut_ptr(), len);
    // SAFETY: the kernel writes at most `len` bytes to `value`, which has room for them, and the
    // length back to `len`.
    unsafe { syscall!(Sysno::getsockopt, fd.as_raw_fd(), SOL_SOCKET, name, value, &raw mut len) }
        .map_err(|error| Errno::from_raw_os_error(error.into_raw()))?;
    if len != expected {
        return Err(Errno::INVAL);
    }
    // SAFETY: all words were set before the call.
    Ok(unsafe { words.assume_init() })
}
