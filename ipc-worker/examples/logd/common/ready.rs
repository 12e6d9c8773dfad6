//! Reports to an init system: readiness, and a pid file.

#![expect(unsafe_code, reason = "takes a descriptor by its number, which the parent chose")]

use core::ffi::CStr;
use core::fmt::{self, Write};

use heapless::String;
use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, ftruncate, lstat, openat, unlink};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd, pread, pwrite, write};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendto, socket_with,
};
use rustix::process::getpid;

use super::say::{Failed, fail};
use super::words::{Lossy, Named};

/// How to report that the daemon is ready, and later that it stops.
pub(crate) struct Readiness {
    /// s6 passes a descriptor, for one line.
    fd: Option<OwnedFd>,
    /// systemd's `NOTIFY_SOCKET`.
    socket: Option<&'static CStr>,
}

impl Readiness {
    /// Takes over the descriptor for the readiness report.
    pub(crate) fn new(
        number: Option<RawFd>,
        socket: Option<&'static CStr>,
    ) -> Result<Self, Failed> {
        let fd = number.map(take_over).transpose()?;
        Ok(Self { fd, socket })
    }

    /// Reports readiness. If nothing listens, the daemon runs all the same.
    pub(crate) fn ready(&mut self) {
        if let Some(fd) = self.fd.take() {
            _ = write(&fd, b"\n");
        }
        self.notify(b"READY=1");
    }

    pub(crate) fn stopping(&self) {
        self.notify(b"STOPPING=1");
    }

    /// Sends a datagram to systemd's socket without blocking (sd_notify(3)).
    fn notify(&self, word: &[u8]) {
        _ = self.socket.map(|name| send(name, word));
    }
}

fn take_over(number: RawFd) -> Result<OwnedFd, Failed> {
    // SAFETY: the call only asks whether the number is open.
    let lent = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_getfd(lent)
        .and_then(|flags| fcntl_setfd(lent, flags | FdFlags::CLOEXEC))
        .map_err(|error| fail(format_args!("--ready-fd {number}: {}", Named(error))))?;
    // SAFETY: by the option the descriptor belongs to this program, and nothing else has opened it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn send(name: &CStr, word: &[u8]) -> Result<(), Errno> {
    let address = match name.to_bytes() {
        [b'@', hidden @ ..] => SocketAddrUnix::new_abstract_name(hidden),
        _ => SocketAddrUnix::new(name),
    }?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendto(&socket, word, flags, &address).map(drop)
}

/// A pid file, which is removed when this is dropped.
pub(crate) struct PidFile {
    path: &'static CStr,
    file: OwnedFd,
    /// The line that was written. Until then the file may belong to another daemon.
    line: String<12>,
    /// The file did not exist before.
    is_new: bool,
}

impl PidFile {
    /// Opens it, while this process still has the privileges.
    pub(crate) fn open(path: &'static CStr) -> Result<Self, Failed> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let open = |more| openat(CWD, path, flags | OFlags::CLOEXEC | more, Mode::from(0o644));
        let opened = match open(OFlags::CREATE | OFlags::EXCL) {
            Err(Errno::EXIST) => open(OFlags::empty()).map(|file| (file, false)),
            made => made.map(|file| (file, true)),
        };
        let trouble = |error| failed(path, format_args!("{}", Named(error)));
        let (file, is_new) = opened.map_err(trouble)?;
        let stat = fstat(&file).map_err(trouble)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(failed(path, format_args!("not a regular file")));
        }
        Ok(Self { path, file, line: String::new(), is_new })
    }

    pub(crate) fn write(&mut self) -> Result<(), Failed> {
        let mut line = String::new();
        // It has room for the longest.
        _ = writeln!(line, "{}", getpid().as_raw_pid());
        let written = ftruncate(&self.file, 0);
        match written.and_then(|()| pwrite(&self.file, line.as_bytes(), 0)) {
            Err(error) => Err(failed(self.path, format_args!("{}", Named(error)))),
            Ok(len) if len < line.len() => Err(failed(self.path, format_args!("no room"))),
            Ok(_) => {
                self.line = line;
                Ok(())
            }
        }
    }

    /// Returns whether the path still is this file, with only this daemon's line. Another daemon
    /// may have it by now.
    fn is_own(&self) -> bool {
        let mut now = [0; 16];
        let len = pread(&self.file, &mut now, 0).unwrap_or(0);
        let number = |stat: Stat| (stat.st_dev, stat.st_ino);
        let is_same = match (lstat(self.path), fstat(&self.file)) {
            (Ok(there), Ok(ours)) => number(there) == number(ours),
            _ => false,
        };
        let is_mine = now.get(..len) == Some(self.line.as_bytes());
        is_same && is_mine && (!self.line.is_empty() || self.is_new)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another user may not be able to remove it, but can truncate it.
        if self.is_own() && unlink(self.path).is_err() {
            _ = ftruncate(&self.file, 0);
        }
    }
}

fn failed(path: &CStr, why: fmt::Arguments<'_>) -> Failed {
    fail(format_args!("--pid-file {}: {why}", Lossy(path.to_bytes())))
}
