//! Meeting at a path: a listener that accepts, and a connection to one.

use core::fmt;
use core::marker::PhantomData;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags};
use rustix::path::Arg;

use crate::contract::SystemError;
use crate::descriptor::{above_stdio, spare};
use crate::unix::socket::Socket;
use crate::waiting::{Instant, Interest, Watched, again_on_intr, look, wait};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// A socket at a path that accepts connections of one kind: [`Stream`](crate::Stream) or
/// [`Seqpacket`](crate::Seqpacket).
///
/// Dropping it removes the path, if that still is its own; a child that was forked meanwhile must
/// not drop it.
///
/// ```no_run
/// use ipc_transport::{Listener, Peer, Stream};
///
/// let mut listener = Listener::<Stream>::bind("/run/daemon.socket", 0o660)?;
/// while let Some(stream) = listener.accept()? {
///     println!("process {}", Peer::of(&stream)?.pid);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Listener<S> {
    socket: OwnedFd,
    /// What to remove at the end.
    place: Option<Place>,
    kind: PhantomData<fn() -> S>,
}

/// A path, which file it is, and the directory that it is relative to: the process may have another
/// working directory by the end.
#[derive(Debug)]
struct Place {
    directory: OwnedFd,
    address: SocketAddrUnix,
    file: FileId,
}

/// Which file a path is: its device and number.
type FileId = (u64, u64);

/// Why a path was not bound or a descriptor not taken over. What is there stays as it was, except
/// that a descriptor may be closed after [`System`](Self::System).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketError {
    /// Another program listens at the path.
    InUse,
    /// What is at the path or descriptor is not a socket.
    NotSocket,
    /// The descriptor is a socket of another family or kind, as socket(2) numbers them.
    WrongKind {
        /// Its family; `AF_UNIX` is expected.
        family: u16,
        /// Its kind.
        kind: u32,
        /// The kind that was asked for.
        expected: u32,
    },
    /// A listener was asked for and the socket does not listen.
    NotListening,
    /// Any other failure of the system: the path is too long (`ENAMETOOLONG`), its directory is
    /// not there (`ENOENT`) or not ours (`EACCES`); the descriptor is not open (`EBADF`) or not
    /// connected (`ENOTCONN`).
    System(SystemError),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("the path is in use by another program"),
            Self::NotSocket => f.write_str("not a socket"),
            Self::WrongKind { family, kind, expected } => {
                write!(f, "a socket of family {family} and kind {kind}, not AF_UNIX and {expected}")
            }
            Self::NotListening => f.write_str("the socket does not listen"),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SocketError {}

impl<S: Socket> Listener<S> {
    /// Binds a path and listens there. A stale socket, at which no process listens, is replaced.
    /// The permissions to connect are `mode`, less the process's umask.
    ///
    /// Two programs that replace the same path in the same moment may both succeed; the one that
    /// then finds the path to be another's is told [`SocketError::InUse`].
    ///
    /// # Errors
    /// See [`SocketError`].
    pub fn bind(path: impl Arg, mode: u32) -> Result<Self, SocketError> {
        let address = SocketAddrUnix::new(path).map_err(of("bind"))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, c".", flags, Mode::empty()).map_err(of("open"))?;
        let directory = above_stdio(directory).map_err(SocketError::System)?;
        let socket = new_socket::<S>().map_err(SocketError::System)?;
        // The file takes its permissions from the socket: it never has others for a moment.
        let mode = Mode::from_raw_mode(mode & 0o777);
        rustix::fs::fchmod(&socket, mode).map_err(of("fchmod"))?;
        let mut bound = rustix::net::bind(&socket, &address);
        if bound == Err(Errno::ADDRINUSE) {
            make_way::<S>(&address)?;
            bound = rustix::net::bind(&socket, &address);
        }
        bound.map_err(of("bind"))?;
        let file = file_at(CWD, &address).map_err(of("lstat"))?;
        // From here on the path is removed where anything fails.
        let place = Some(Place { directory, address, file });
        let bound = Self { socket, place, kind: PhantomData };
        rustix::net::listen(&bound.socket, BACKLOG).map_err(of("listen"))?;
        if bound.place.as_ref().is_some_and(Place::is_own) {
            Ok(bound)
        } else {
            Err(SocketError::InUse)
        }
    }

    /// Takes the next connection, close-on-exec and at a descriptor above 2, or answers `None`
    /// where there is none. It never waits, except that where another process accepts at the
    /// same inherited, blocking socket, that one may be quicker.
    ///
    /// # Errors
    /// `EMFILE` and `ENFILE`: the connection stays for a later call.
    pub fn accept(&mut self) -> Result<Option<S>, SystemError> {
        // A socket that somebody else made may wait.
        while look(Watched::new(self.socket.as_fd(), Interest::Input))?.is_ready() {
            // What is accepted cannot be put back.
            let spare = spare(self.socket.as_fd())?;
            let accept = || rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC);
            match again_on_intr(accept) {
                Ok(fd) => {
                    drop(spare);
                    return Ok(Some(above_stdio(fd)?.into()));
                }
                Err(Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(SystemError::of("accept4")(error)),
            }
        }
        Ok(None)
    }

    /// Waits for the next connection, and takes it as [`accept`](Self::accept) does. `None` where none
    /// comes before the deadline.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn accept_until(&mut self, deadline: Instant) -> Result<Option<S>, SystemError> {
        loop {
            let accepted = self.accept()?;
            let mut watched = [Watched::new(self.socket.as_fd(), Interest::Input)];
            if accepted.is_some() || !wait(&mut watched, Some(deadline))? {
                return Ok(accepted);
            }
        }
    }

    /// Takes over a socket that listens already.
    pub(super) const fn taken_over(socket: OwnedFd) -> Self {
        Self { socket, place: None, kind: PhantomData }
    }
}

impl<S> AsFd for Listener<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<S> Drop for Listener<S> {
    fn drop(&mut self) {
        if let Some(place) = self.place.as_ref().filter(|place| place.is_own()) {
            _ = unlink(place.directory.as_fd(), &place.address);
        }
    }
}

impl Place {
    /// Returns whether the path still is the file that was bound.
    fn is_own(&self) -> bool {
        file_at(self.directory.as_fd(), &self.address) == Ok(self.file)
    }
}

/// Connects to a listener at a path. `Ok(None)` where too many connections wait there to be
/// accepted: it may be tried again.
///
/// ```no_run
/// let stream: Option<ipc_transport::Stream> = ipc_transport::connect("/run/daemon.socket")?;
/// # Ok::<(), ipc_transport::SystemError>(())
/// ```
///
/// # Errors
/// `ENOENT` and `ECONNREFUSED` where no process listens, `EPROTOTYPE` where the listener is of
/// another kind, `EACCES` without permission; see connect(2).
pub fn connect<S: Socket>(path: impl Arg) -> Result<Option<S>, SystemError> {
    let address = SocketAddrUnix::new(path).map_err(SystemError::of("connect"))?;
    let socket = new_socket::<S>()?;
    match again_on_intr(|| rustix::net::connect(&socket, &address)) {
        Ok(()) => {}
        Err(Errno::AGAIN) => return Ok(None),
        Err(error) => return Err(SystemError::of("connect")(error)),
    }
    // No other process has this socket yet. Its blocking view needs the mode.
    rustix::fs::fcntl_setfl(&socket, OFlags::RDWR).map_err(SystemError::of("fcntl"))?;
    Ok(Some(socket.into()))
}

pub(super) fn of(call: &'static str) -> impl FnOnce(Errno) -> SocketError {
    move |error| match error {
        Errno::ADDRINUSE => SocketError::InUse,
        Errno::NOTSOCK => SocketError::NotSocket,
        error => SocketError::System(SystemError::of(call)(error)),
    }
}

/// A socket that does not wait, close-on-exec and above 2.
fn new_socket<S: Socket>() -> Result<OwnedFd, SystemError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, S::KIND, flags, None);
    above_stdio(socket.map_err(SystemError::of("socket"))?)
}

/// Removes a socket at which no process listens. Anything else at the path stays.
fn make_way<S: Socket>(address: &SocketAddrUnix) -> Result<(), SocketError> {
    let stat = stat_at(CWD, address).map_err(of("lstat"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(SocketError::NotSocket);
    }
    let probe = new_socket::<S>().map_err(SocketError::System)?;
    match rustix::net::connect(&probe, address) {
        Err(Errno::CONNREFUSED) => unlink(CWD, address).map_err(of("unlink")),
        // Another kind of socket listens, or one whose queue is full.
        Ok(()) | Err(Errno::PROTOTYPE | Errno::AGAIN) => Err(SocketError::InUse),
        Err(error) => Err(of("connect")(error)),
    }
}

fn stat_at(directory: BorrowedFd<'_>, address: &SocketAddrUnix) -> Result<Stat, Errno> {
    statat(directory, address.path_bytes().unwrap_or_default(), AtFlags::SYMLINK_NOFOLLOW)
}

fn file_at(directory: BorrowedFd<'_>, address: &SocketAddrUnix) -> Result<FileId, Errno> {
    stat_at(directory, address).map(|stat| (stat.st_dev, stat.st_ino))
}

fn unlink(directory: BorrowedFd<'_>, address: &SocketAddrUnix) -> Result<(), Errno> {
    unlinkat(directory, address.path_bytes().unwrap_or_default(), AtFlags::empty())
}
