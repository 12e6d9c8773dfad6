//! Descriptors that can be identified, and whose last close can be noticed.

use std::io::PipeReader;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::{FdFlags, fcntl_getfd};

use crate::contract::{FdList, Moved, PassFds, Received};
use crate::fd::{AsFd, BorrowedFd, OwnedFd};
use crate::joining::inbox::{Arrived, Inbox};
use crate::laws::tools::{patiently, settled, taken};
use crate::waiting::{Instant, Interest, Watched, wait};

/// The writing end of a pipe, which is sent, and the reading end, which shows when the last
/// duplicate of the writing end is closed. Other descriptors of the process do not matter, so laws
/// can run in parallel.
#[derive(Debug)]
pub(super) struct Probe {
    own: OwnedFd,
    reader: PipeReader,
}

impl Probe {
    pub(super) fn new() -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        Self { own: writer.into(), reader }
    }

    pub(super) const fn own(&self) -> &OwnedFd {
        &self.own
    }

    pub(super) fn id(&self) -> u64 {
        id_of(&self.own)
    }

    /// Closes this descriptor, and checks that no duplicate is left.
    pub(super) fn expect_last(self) {
        let Self { own, reader } = self;
        drop(own);
        patiently(|| {
            let mut watched = [Watched::new(reader.as_fd(), Interest::End)];
            // A process that another test is starting may hold it for a moment.
            wait(&mut watched, Some(Instant::PAST)).unwrap().then_some(())
        });
    }
}

/// Waits until no other law holds hundreds of descriptors. Several at a time would reach the
/// process's limit, which is often 1024.
pub(super) fn many_descriptors() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A law that failed has closed its descriptors.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Room for the most descriptors that a frame can carry.
pub(super) type List = FdList<253>;

/// Returns the inode number, which is the same for all descriptors of a file.
pub(super) fn id_of(fd: impl AsFd) -> u64 {
    rustix::fs::fstat(fd).unwrap().st_ino
}

/// Returns whether the descriptor is close-on-exec and above the standard streams.
pub(super) fn is_kept_apart(fd: &OwnedFd) -> bool {
    fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC) && fd.as_raw_fd() > 2
}

/// Sends the bytes with descriptors in one call. Returns how many bytes were taken.
pub fn send_with(to: &mut impl PassFds, bytes: &[u8], fds: &[&OwnedFd]) -> usize {
    let fds: std::vec::Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    taken(|| settled(to.send_with(&[bytes], &fds)))
}

pub(super) fn receive_with(from: &mut impl PassFds, space: &mut [u8], fds: &mut List) -> Received {
    patiently(|| settled(from.receive_with(space, &mut fds.fds())))
}

/// Receives once, with room for the most descriptors that a frame can carry.
pub fn receive<const BYTES: usize>(inbox: &mut Inbox<BYTES>, from: &mut impl PassFds) -> Moved {
    Ok(match inbox.receive_with(from, 253)? {
        Arrived::Bytes(len) => Some(len),
        Arrived::WouldBlock | Arrived::TakeFrames => None,
    })
}
