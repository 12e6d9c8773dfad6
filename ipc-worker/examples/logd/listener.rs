//! The socket that clients send to, and its name in the file system.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Stat, lstat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, bind, connect, shutdown,
    socket_with, sockopt,
};
use rustix::process::umask;

use crate::Trouble;
use crate::common::ledger::Name;
use crate::common::line::{Datagram, MESSAGE};
use crate::common::receive::receive;
use crate::say::complain;

/// Messages that should have room in the kernel while main is away for a moment.
const ENOUGH: u32 = 256;

/// A datagram socket bound to a path, which goes when this does.
pub(crate) struct Listener {
    socket: OwnedFd,
    path: PathBuf,
    /// Which file the path was when it was bound.
    file: Option<(u64, u64)>,
}

/// A message at the start of the buffer that it was received into.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    received: Duration,
    /// The sender's pid, uid and gid.
    sender: [u32; 3],
    /// Its whole length.
    len: usize,
}

impl Arrival {
    pub(crate) fn datagram(self, buffer: &[u8]) -> Datagram<'_> {
        let bytes = buffer.get(..self.len).unwrap_or(buffer);
        let missing = u64::try_from(self.len - bytes.len()).unwrap_or(u64::MAX);
        Datagram { received: self.received, sender: Some(self.sender), bytes, missing }
    }
}

impl Listener {
    /// Binds the path. A socket that nobody listens at is stale and is replaced.
    pub(crate) fn bind(path: &Path, mode: u32) -> Result<Self, Trouble> {
        let trouble = |error: &dyn std::fmt::Display| {
            Trouble::at(format_args!("--socket {}", path.display()))(error)
        };
        let address = SocketAddrUnix::new(path).map_err(|error| trouble(&error))?;
        let socket = new_socket().map_err(|error| trouble(&error))?;
        // Before there is a name: who sends without being asked for stays unknown.
        sockopt::set_socket_passcred(&socket, true).map_err(|error| trouble(&error))?;
        let mut bound = bind_with_mode(&socket, &address, mode);
        if bound == Err(Errno::ADDRINUSE) {
            make_way(path, &address).map_err(|why| trouble(&why))?;
            bound = bind_with_mode(&socket, &address, mode);
        }
        bound.map_err(|error| trouble(&error))?;
        let file = lstat(path).ok().map(|stat| identity(&stat));
        Ok(Self { socket, path: path.to_owned(), file })
    }

    /// Takes the next message, if there is one.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Result<Option<Arrival>, Errno> {
        loop {
            return match receive(self.socket.as_fd(), buffer) {
                Ok((len, sender)) => {
                    let received = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                    let received = received.unwrap_or_default();
                    Ok(Some(Arrival { received, sender, len }))
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Ok(None),
                Err(error) => Err(error),
            };
        }
    }

    /// Takes no further messages from now on; those that were accepted can still be received.
    pub(crate) fn close(&self) {
        self.unlink();
        // It is a socket of ours, so that this does not fail.
        _ = shutdown(&self.socket, Shutdown::Read);
    }

    /// Names what was accepted and is not read any more, and counts it. After [`close`](Self::close)
    /// nothing further comes, so that this ends.
    pub(crate) fn name_unread(&self) -> u64 {
        let (mut count, mut buffer) = (0, vec![0; MESSAGE]);
        while let Ok(Some(arrival)) = self.receive(&mut buffer) {
            complain(format_args!("lost (not read): {}", Name::of(&arrival.datagram(&buffer))));
            count += 1;
        }
        count
    }

    /// Removes the path if it still is this socket.
    fn unlink(&self) {
        let now = lstat(&self.path).ok().map(|stat| identity(&stat));
        if now.is_some() && now == self.file {
            _ = rustix::fs::unlink(&self.path);
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

/// Says where clients that do not wait lose messages early: the system lets only so many wait in the
/// kernel for a socket (unix(7)).
pub(crate) fn say_if_short() {
    const LIMIT: &str = "/proc/sys/net/unix/max_dgram_qlen";
    let limit = std::fs::read_to_string(LIMIT).ok().and_then(|text| text.trim().parse().ok());
    if let Some(limit) = limit.filter(|&limit: &u32| limit < ENOUGH) {
        complain(format_args!(
            "net.unix.max_dgram_qlen is {limit}: clients that do not wait may lose what they send \
             in a burst; {ENOUGH} is better"
        ));
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn new_socket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
}

fn bind_with_mode(socket: &OwnedFd, address: &SocketAddrUnix, mode: u32) -> Result<(), Errno> {
    // The mask decides, so that the socket never has other permissions for a moment.
    let before = umask(rustix::fs::Mode::from_bits_truncate(0o777 & !mode));
    let bound = bind(socket, address);
    umask(before);
    bound
}

/// Removes a stale socket. Whatever else is at the path stays.
fn make_way(path: &Path, address: &SocketAddrUnix) -> Result<(), String> {
    let stat = lstat(path).map_err(|error| error.to_string())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err("exists and is no socket".to_owned());
    }
    let probe = new_socket().map_err(|error| error.to_string())?;
    match connect(&probe, address) {
        Err(Errno::CONNREFUSED) => {
            rustix::fs::unlink(path).map_err(|error| format!("a stale socket stays: {error}"))
        }
        Ok(()) | Err(Errno::PROTOTYPE) => Err("is in use by another program".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
