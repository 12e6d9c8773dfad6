//! A standard stream, written without blocking.

use core::ffi::CStr;

use ipc_transport::{Instant, Interest, Watched, wait};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::words::Text;

/// Others may share it and its file status flags, so a pipe or a terminal is opened again.
pub(crate) struct Outlet {
    shared: BorrowedFd<'static>,
    own: Option<OwnedFd>,
    is_socket: bool,
    /// Until when to wait for room.
    pub(crate) patience: Instant,
    /// A line was written in part.
    torn: bool,
}

impl Outlet {
    pub(crate) fn new(shared: BorrowedFd<'static>) -> Self {
        let kind = fstat(shared).map(|stat| FileType::from_raw_mode(stat.st_mode)).ok();
        let own = match kind {
            Some(FileType::Fifo | FileType::CharacterDevice) => open_again(shared),
            _ => None,
        };
        let is_socket = kind == Some(FileType::Socket);
        Self { shared, own, is_socket, patience: Instant::PAST, torn: false }
    }

    /// Writes lines if there is room for them now: at most as many bytes as a pipe accepts
    /// atomically (4096, pipe(7)). Returns whether they were written.
    pub(crate) fn put(&mut self, lines: &[u8]) -> bool {
        if self.torn {
            self.torn = self.write(b"\n") != Ok(1);
        }
        if self.torn {
            return false;
        }
        // A reader that is gone is not our problem.
        let written = self.write(lines).unwrap_or(0);
        self.torn = (1..lines.len()).contains(&written);
        written == lines.len()
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match self.write_now(bytes) {
            Err(Errno::AGAIN) if self.patience > Instant::now() && self.has_room() => {
                self.write_now(bytes)
            }
            written => written,
        }
    }

    fn write_now(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match &self.own {
            _ if self.is_socket => {
                send(self.shared, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            }
            Some(own) => rustix::io::write(own, bytes),
            // This may block, so write only if there is room.
            None if self.has_room() => rustix::io::write(self.shared, bytes),
            None => Err(Errno::AGAIN),
        }
    }

    fn has_room(&self) -> bool {
        let mut watched = [Watched::new(self.shared.as_fd(), Interest::Output)];
        wait(&mut watched, Some(self.patience)).unwrap_or(false)
    }
}

/// Opens the file of a descriptor again, for separate file status flags.
fn open_again(shared: BorrowedFd<'_>) -> Option<OwnedFd> {
    let mut room = [0; 32];
    let mut path = Text::new(&mut room);
    path.put(b"/proc/self/fd/");
    path.put_number(u64::try_from(shared.as_raw_fd()).ok()?, 1);
    path.put(b"\0");
    let path = CStr::from_bytes_with_nul(path.bytes()).ok()?;
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}
