//! Descriptors and children of a process.

#![expect(unsafe_code, reason = "descriptors known by number, and calls that rustix lacks")]

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use ipc_transport::{Arrived, Inbox, PassFds, TransportError};
use rustix::io::FdFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::around::{is_kept, proc};

/// Room for the most descriptors that a frame may carry.
pub type Fds = ipc_transport::FdList<253>;

const _: () = assert!(ipc_frame::MAX_FDS == 253);

/// Receives once, with room for the most descriptors that a frame may carry. Returns `None` if
/// nothing arrived.
pub fn receive<const BYTES: usize>(
    inbox: &mut Inbox<BYTES>,
    from: &mut impl PassFds,
) -> Result<Option<usize>, TransportError> {
    Ok(match inbox.receive_with(from, 253)? {
        Arrived::Bytes(len) => Some(len),
        Arrived::WouldBlock | Arrived::TakeFrames => None,
    })
}

/// Returns the open descriptors, except the one that reads the list and those that are detached
/// from their files.
pub fn open() -> Vec<RawFd> {
    let list = fs::read_dir(proc("self/fd")).expect("/proc is mounted");
    let numbers: Vec<RawFd> =
        list.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The list's own descriptor is closed by now.
    numbers
        .into_iter()
        .filter(|&fd| !is_kept(fd) && mode(fd).is_some_and(|mode| mode & libc::O_PATH == 0))
        .collect()
}

/// Returns the status flags of a descriptor, or `None` if it is closed.
pub fn mode(fd: RawFd) -> Option<i32> {
    // SAFETY: the call touches no memory.
    Some(unsafe { libc::fcntl(fd, libc::F_GETFL) }).filter(|&mode| mode >= 0)
}

/// Creates a file that [`id_of`] can tell from every other.
pub fn file() -> OwnedFd {
    tempfile::tempfile().expect("there is room for a file").into()
}

/// Returns a file's id, the same for every descriptor of it.
pub fn id_of(fd: impl AsFd) -> u64 {
    rustix::fs::fstat(fd).expect("the descriptor is open").st_ino
}

/// Returns whether an exec closes the descriptor.
pub fn is_cloexec(fd: impl AsFd) -> bool {
    rustix::io::fcntl_getfd(fd).expect("the descriptor is open").contains(FdFlags::CLOEXEC)
}

/// Sets how many descriptors the process may open.
pub fn limit(count: u64) {
    let whole = getrlimit(Resource::Nofile);
    let limit = Rlimit { current: Some(count), ..whole };
    setrlimit(Resource::Nofile, limit).expect("it is not above the hard limit");
}

/// Returns a worker's socket to main: the first descriptor after the standard streams.
pub fn own_socket() -> BorrowedFd<'static> {
    open()
        .into_iter()
        .filter(|&fd| fd > 2)
        // SAFETY: it is open, and a worker's socket stays open as long as the worker.
        .map(|fd| unsafe { BorrowedFd::borrow_raw(fd) })
        .find(|fd| rustix::net::sockopt::socket_type(fd).is_ok())
        .expect("a worker has a socket to main")
}

/// Makes a socket accept or refuse descriptors (SO_PASSRIGHTS). Returns whether the kernel supports
/// that.
pub fn pass_rights(socket: BorrowedFd<'_>, is_on: bool) -> bool {
    const SO_PASSRIGHTS: i32 = 83;
    let (word, len) = (i32::from(is_on), 4);
    let value = (&raw const word).cast();
    // SAFETY: the kernel reads four bytes of the variable.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_PASSRIGHTS, value, len)
    };
    set == 0
}

/// Creates an io_uring, a descriptor that the kernel never passes. Returns `None` if it cannot.
pub fn io_uring(flags: u32) -> Option<OwnedFd> {
    let mut parameters = [0_u32; 30];
    parameters[2] = flags;
    // SAFETY: the kernel reads and writes the 120 bytes of its parameters.
    let number = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()) };
    let number = RawFd::try_from(number).ok().filter(|&number| number >= 0)?;
    // SAFETY: it was just made, and nothing else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Returns the states of this process's children as shown by /proc; `Z` is a zombie.
pub fn children() -> Vec<char> {
    let own = std::process::id().to_string();
    let processes = fs::read_dir(proc("")).expect("/proc is mounted");
    processes
        .filter_map(|entry| {
            let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
            let (_, rest) = stat.rsplit_once(") ")?;
            let mut fields = rest.split(' ');
            let state = fields.next()?.chars().next()?;
            (fields.next()? == own).then_some(state)
        })
        .collect()
}
