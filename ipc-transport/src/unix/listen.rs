//! A listener at a path, and connecting to it.

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

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 128;

/// A listening socket at a path. It accepts connections of one kind: [`Stream`](crate::Stream) or
/// [`Seqpacket`](crate::Seqpacket).
///
/// Dropping it removes the path, unless another program has replaced the socket there. A forked
/// child must not drop it.
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
    /// What to remove on drop.
    place: Option<Place>,
    kind: PhantomData<fn() -> S>,
}

/// A path, the file it names, and the directory it is relative to, since the working directory may
/// change before the drop.
#[derive(Debug)]
struct Place {
    directory: OwnedFd,
    address: SocketAddrUnix,
    file: FileId,
}

/// The identity of a file: its device and inode numbers.
type FileId = (u64, u64);

/// Why a path was not bound or a descriptor not taken over. The path and the descriptor are left as
/// they were, except that the descriptor may be closed after [`System`](Self::System).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketError {
    /// Another program is listening at the path.
    InUse,
    /// The path or descriptor is not a socket.
    NotSocket,
    /// The descriptor is a socket of another family or kind. The numbers are those of socket(2).
    WrongKind {
        /// Its family; `AF_UNIX` is expected.
        family: u16,
        /// Its kind.
        kind: u32,
        /// The requested kind.
        expected: u32,
    },
    /// A listener was requested, but the socket does not listen.
    NotListening,
    /// Any other system call that failed: the path is too long (`ENAMETOOLONG`), its directory does
    /// not exist (`ENOENT`) or is not writable (`EACCES`); the descriptor is not open (`EBADF`) or
    /// not connected (`ENOTCONN`).
    System(SystemError),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("the path is in use by another program: choose another"),
            Self::NotSocket => f.write_str("the path or descriptor is not a socket"),
            Self::WrongKind { family, kind, expected } => {
                write!(f, "socket family {family}, kind {kind}; expected AF_UNIX, kind {expected}")
            }
            Self::NotListening => f.write_str("the socket does not listen"),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SocketError {}

impl<S: Socket> Listener<S> {
    /// Binds a path and listens there. Replaces a stale socket, at which no process listens. The
    /// socket file gets the permissions `mode`, less the process's umask.
    ///
    /// If two programs replace the same path at the same time, both may succeed. A program that
    /// notices that the other has replaced its socket gets [`SocketError::InUse`].
    ///
    /// # Errors
    /// See [`SocketError`].
    pub fn bind(path: impl Arg, mode: u32) -> Result<Self, SocketError> {
        let address = SocketAddrUnix::new(path).map_err(of("bind"))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, c".", flags, Mode::empty()).map_err(of("open"))?;
        let directory = above_stdio(directory).map_err(SocketError::System)?;
        let socket = new_socket::<S>().map_err(SocketError::System)?;
        // The file takes its permissions from the socket, so it never has wider ones.
        let mode = Mode::from_raw_mode(mode & 0o777);
        rustix::fs::fchmod(&socket, mode).map_err(of("fchmod"))?;
        let mut bound = rustix::net::bind(&socket, &address);
        if bound == Err(Errno::ADDRINUSE) {
            make_way::<S>(&address)?;
            bound = rustix::net::bind(&socket, &address);
        }
        bound.map_err(of("bind"))?;
        let file = file_at(CWD, &address).map_err(of("lstat"))?;
        // From here on any failure removes the path.
        let place = Some(Place { directory, address, file });
        let bound = Self { socket, place, kind: PhantomData };
        rustix::net::listen(&bound.socket, BACKLOG).map_err(of("listen"))?;
        if bound.place.as_ref().is_some_and(Place::is_own) {
            Ok(bound)
        } else {
            Err(SocketError::InUse)
        }
    }

    /// Accepts the next connection, as a close-on-exec descriptor above 2, or returns `None` if no
    /// connection is pending. It does not wait, unless another process that shares an inherited,
    /// blocking socket takes the connection first.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE`: the connection stays queued for a later call.
    pub fn accept(&mut self) -> Result<Option<S>, SystemError> {
        // A socket that another program made may be blocking.
        while look(Watched::new(self.socket.as_fd(), Interest::Input))?.is_ready() {
            // An accepted connection cannot be put back.
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

    /// Waits for the next connection and accepts it as [`accept`](Self::accept) does. Returns
    /// `None` if no connection comes before the deadline.
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

    /// Takes over a socket that already listens.
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
    /// Returns whether the path still names the file that was bound.
    fn is_own(&self) -> bool {
        file_at(self.directory.as_fd(), &self.address) == Ok(self.file)
    }
}

/// Connects to a listener at a path. Returns `Ok(None)` if the listener's queue is full: try again
/// later.
///
/// ```no_run
/// let stream: Option<ipc_transport::Stream> = ipc_transport::connect("/run/daemon.socket")?;
/// # Ok::<(), ipc_transport::SystemError>(())
/// ```
///
/// # Errors
/// `ENOENT` or `ECONNREFUSED` if no process listens, `EPROTOTYPE` if the listener is of another
/// kind, `EACCES` without permission; see connect(2).
pub fn connect<S: Socket>(path: impl Arg) -> Result<Option<S>, SystemError> {
    let address = SocketAddrUnix::new(path).map_err(SystemError::of("connect"))?;
    let socket = new_socket::<S>()?;
    match again_on_intr(|| rustix::net::connect(&socket, &address)) {
        Ok(()) => {}
        Err(Errno::AGAIN) => return Ok(None),
        Err(error) => return Err(SystemError::of("connect")(error)),
    }
    // No other process shares this socket yet. The blocking view needs this mode.
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

/// A nonblocking, close-on-exec socket at a descriptor above 2.
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
        // A socket of another kind listens, or one with a full queue.
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
