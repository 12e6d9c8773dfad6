//! What a process holds: descriptors and children.

#![expect(unsafe_code, reason = "a worker's own socket is known by its number only")]

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use ipc_transport::{Arrived, Inbox, PassFds, TransportError};
use rustix::io::FdFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Room for all descriptors that a frame may carry.
pub type Fds = ipc_transport::FdList<253>;

const _: () = assert!(ipc_frame::MAX_FDS == 253);

/// Receives once, with room for as many descriptors as a frame may carry. `None` where nothing came.
pub fn receive<const BYTES: usize>(
    inbox: &mut Inbox<BYTES>,
    from: &mut impl PassFds,
) -> Result<Option<usize>, TransportError> {
    Ok(match inbox.receive_with(from, 253)? {
        Arrived::Bytes(len) => Some(len),
        Arrived::WouldBlock | Arrived::TakeFrames => None,
    })
}

/// Returns the open descriptors, without the one that reads the list.
pub fn open() -> Vec<RawFd> {
    let list = fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    let numbers: Vec<RawFd> =
        list.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The list's own descriptor is closed by now.
    numbers.into_iter().filter(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok()).collect()
}

/// Makes a file that can be told from every other by [`id_of`].
pub fn file() -> OwnedFd {
    tempfile::tempfile().expect("there is room for a file").into()
}

/// Returns what stays the same of a file whatever descriptor it has.
pub fn id_of(fd: impl AsFd) -> u64 {
    rustix::fs::fstat(fd).expect("the descriptor is open").st_ino
}

/// Returns whether an exec closes the descriptor.
pub fn is_cloexec(fd: impl AsFd) -> bool {
    rustix::io::fcntl_getfd(fd).expect("the descriptor is open").contains(FdFlags::CLOEXEC)
}

/// Changes how many descriptors the process may open.
pub fn limit(count: u64) {
    let whole = getrlimit(Resource::Nofile);
    let limit = Rlimit { current: Some(count), ..whole };
    setrlimit(Resource::Nofile, limit).expect("it is not above the hard limit");
}

/// Returns a worker's socket to main, in the worker: its one descriptor beside the standard ones.
pub fn own_socket() -> BorrowedFd<'static> {
    let number = open().into_iter().find(|&fd| fd > 2).expect("a worker has a socket");
    // SAFETY: it is open as long as the worker runs.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Returns the states of this process's children as /proc shows them; `Z` is a zombie.
pub fn children() -> Vec<char> {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").expect("/proc is mounted");
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
