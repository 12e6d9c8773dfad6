//! The socket that clients send to, and its path.

use core::ffi::CStr;
use core::fmt;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, Stat, lstat, open, unlink};
use rustix::io::{Errno, read};
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, bind, connect, shutdown,
    socket_with, sockopt,
};
use rustix::process::umask;

use super::ledger::Name;
use super::line::{Datagram, Sender};
use super::receive::receive;
use super::say::{Failed, complain, fail};
use super::wall;
use super::words::{Lossy, Named};

/// How many messages should fit in the kernel while main is busy for a moment.
const ENOUGH: u32 = 256;

/// How many bytes of a message are examined for its name.
const NAMED: usize = 1024;

/// A datagram socket bound to a path, which is removed when this is dropped.
pub(crate) struct Listener {
    socket: OwnedFd,
    path: &'static CStr,
    /// The file that the path named when it was bound.
    file: Option<Identity>,
}

/// A file's device and inode number.
type Identity = (u64, u64);

impl Listener {
    /// Binds the path. Replaces a stale socket, which an ended program has left.
    pub(crate) fn bind(path: &'static CStr, mode: u32) -> Result<Self, Failed> {
        let trouble = |error: Errno| failed(path, format_args!("{}", Named(error)));
        let address = SocketAddrUnix::new(path).map_err(trouble)?;
        let socket = new_socket().map_err(trouble)?;
        // Before bind: the kernel does not record the sender of a message unless asked to.
        sockopt::set_socket_passcred(&socket, true).map_err(trouble)?;
        let mut bound = bind_with_mode(&socket, &address, mode);
        if bound == Err(Errno::ADDRINUSE) {
            make_way(path, &address)?;
            bound = bind_with_mode(&socket, &address, mode);
        }
        bound.map_err(trouble)?;
        let file = lstat(path).ok().map(|stat| identity(&stat));
        Ok(Self { socket, path, file })
    }

    /// Receives the next message, if there is one.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> Result<Option<Datagram<'a>>, Errno> {
        loop {
            return match receive(self.socket.as_fd(), buffer) {
                Ok((len, sender)) => {
                    let bytes = buffer.get(..len).unwrap_or(buffer);
                    let missing = u64::try_from(len - bytes.len()).unwrap_or(u64::MAX);
                    let (received, sender) = (wall::now(), Sender::Process(sender));
                    Ok(Some(Datagram { received, sender, bytes, missing }))
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Ok(None),
                Err(error) => Err(error),
            };
        }
    }

    /// Receives no further messages from now on. Accepted ones can still be read.
    pub(crate) fn close(&self) {
        self.unlink();
        // This is an open socket, so the call does not fail.
        _ = shutdown(&self.socket, Shutdown::Read);
    }

    /// Names and counts accepted messages that will not be read. After [`close`](Self::close) no
    /// more arrive, so this ends.
    pub(crate) fn name_unread(&self) -> u64 {
        let (mut count, mut buffer) = (0, [0; NAMED]);
        while let Ok(Some(datagram)) = self.receive(&mut buffer) {
            complain(format_args!("lost (not read): {}", Name::of(&datagram)));
            count += 1;
        }
        count
    }

    /// Removes the path, if it still names this socket.
    fn unlink(&self) {
        let now = lstat(self.path).ok().map(|stat| identity(&stat));
        if now.is_some() && now == self.file {
            _ = unlink(self.path);
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
        self.name_unread();
    }
}

/// Warns if clients that do not wait would lose messages early: the system limits how many can wait
/// in the kernel per socket (unix(7)).
pub(crate) fn say_if_short() {
    if let Some(limit) = queue_limit().filter(|&limit| limit < ENOUGH) {
        complain(format_args!(
            "net.unix.max_dgram_qlen is {limit}: clients that do not wait may lose what they send \
             in a burst; {ENOUGH} is better"
        ));
    }
}

fn queue_limit() -> Option<u32> {
    const LIMIT: &CStr = c"/proc/sys/net/unix/max_dgram_qlen";
    let file = open(LIMIT, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = [0; 16];
    let len = read(file, &mut text).ok()?;
    core::str::from_utf8(text.get(..len)?).ok()?.trim_end().parse().ok()
}

fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

fn new_socket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
}

fn bind_with_mode(socket: &OwnedFd, address: &SocketAddrUnix, mode: u32) -> Result<(), Errno> {
    // Use the umask, so that the socket never has other permissions, not even for a moment.
    let before = umask(Mode::from_bits_truncate(0o777 & !mode));
    let bound = bind(socket, address);
    umask(before);
    bound
}

/// Removes a stale socket. Anything else at the path stays.
fn make_way(path: &CStr, address: &SocketAddrUnix) -> Result<(), Failed> {
    let trouble = |error: Errno| failed(path, format_args!("{}", Named(error)));
    let stat = lstat(path).map_err(trouble)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(failed(path, format_args!("exists and is not a socket")));
    }
    let probe = new_socket().map_err(trouble)?;
    match connect(&probe, address) {
        Err(Errno::CONNREFUSED) => unlink(path).map_err(|error| {
            failed(path, format_args!("cannot remove a stale socket: {}", Named(error)))
        }),
        Ok(()) | Err(Errno::PROTOTYPE) => {
            Err(failed(path, format_args!("is in use by another program")))
        }
        Err(error) => Err(trouble(error)),
    }
}

fn failed(path: &CStr, why: fmt::Arguments<'_>) -> Failed {
    fail(format_args!("--socket {}: {why}", Lossy(path.to_bytes())))
}
