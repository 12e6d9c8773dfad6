//! Taking over sockets that the process was started with.

#![expect(unsafe_code, reason = "a descriptor's number says nothing of its owner")]

use core::fmt;

use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::FileType;
use rustix::io::{Errno, FdFlags};
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, getpeername};

use crate::contract::SystemError;
use crate::descriptor::{above_stdio, open_stdio};
use crate::unix::listen::Listener;
use crate::unix::socket::Socket;

/// Why a descriptor was not taken over. It stays as it was, but for [`System`](Self::System).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InheritError {
    /// No descriptor is open at this number.
    NotOpen {
        /// The number.
        number: RawFd,
    },
    /// The descriptor is no socket.
    NoSocket {
        /// Its number.
        number: RawFd,
    },
    /// The socket is not of the family `AF_UNIX`.
    WrongFamily {
        /// Its family, as socket(2) numbers it.
        family: u16,
    },
    /// The socket is of the family but of another kind.
    WrongKind {
        /// Its kind, as socket(2) numbers it.
        kind: u32,
        /// The kind that was asked for.
        expected: u32,
    },
    /// A connection was asked for and the socket has none: it listens, or was never connected.
    NotConnected,
    /// A listener was asked for and the socket is none.
    NotListening,
    /// Any other failure of the system.
    System(SystemError),
}

impl fmt::Display for InheritError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen { number } => write!(f, "descriptor {number} is not open"),
            Self::NoSocket { number } => write!(f, "descriptor {number} is no socket"),
            Self::WrongFamily { family } => write!(f, "a socket of family {family}, not AF_UNIX"),
            Self::WrongKind { kind, expected } => {
                write!(f, "a socket of kind {kind} instead of {expected}")
            }
            Self::NotConnected => f.write_str("the socket is not connected"),
            Self::NotListening => f.write_str("the socket does not listen"),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for InheritError {}

/// Takes over the connected socket that the process was started with at a number, and makes it
/// close-on-exec. One at 0, 1 or 2 is moved above, and `/dev/null` takes its place.
///
/// A service manager that passes sockets by number begins at 3 (sd_listen_fds(3)).
///
/// # Errors
/// See [`InheritError`].
///
/// # Safety
/// Nothing else in this process owns the descriptor, now or later.
pub unsafe fn inherit<S: Socket>(number: RawFd) -> Result<S, InheritError> {
    // SAFETY: the caller's promise is the one that this asks for.
    let (fd, listens) = unsafe { checked::<S>(number) }?;
    if listens || getpeername(fd).is_err() {
        return Err(InheritError::NotConnected);
    }
    // SAFETY: as above, and the descriptor is open.
    Ok(unsafe { taken(number) }?.into())
}

impl<S: Socket> Listener<S> {
    /// Takes over the listening socket that the process was started with at a number, as
    /// [`inherit`] does. Its path belongs to the program that made it and is never removed.
    ///
    /// # Errors
    /// See [`InheritError`].
    ///
    /// # Safety
    /// Nothing else in this process owns the descriptor, now or later.
    pub unsafe fn inherit(number: RawFd) -> Result<Self, InheritError> {
        // SAFETY: the caller's promise is the one that this asks for.
        let (_, listens) = unsafe { checked::<S>(number) }?;
        if !listens {
            return Err(InheritError::NotListening);
        }
        // SAFETY: as above, and the descriptor is open.
        let fd = unsafe { taken(number) }?;
        Self::from_inherited(fd).map_err(InheritError::System)
    }
}

/// Looks at a descriptor, and returns whether it listens.
///
/// # Safety
/// If the number is open it stays so while the answer is used.
unsafe fn checked<'fd, S: Socket>(number: RawFd) -> Result<(BorrowedFd<'fd>, bool), InheritError> {
    if number < 0 {
        return Err(InheritError::NotOpen { number });
    }
    // SAFETY: the number is only asked about; that it stays open is the caller's promise.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let stat = rustix::fs::fstat(fd).map_err(|error| match error {
        Errno::BADF => InheritError::NotOpen { number },
        error => of("fstat")(error),
    })?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(InheritError::NoSocket { number });
    }
    let family = socket_domain(fd).map_err(of("getsockopt SO_DOMAIN"))?;
    if family != AddressFamily::UNIX {
        return Err(InheritError::WrongFamily { family: family.as_raw() });
    }
    let kind = socket_type(fd).map_err(of("getsockopt SO_TYPE"))?;
    if kind != S::KIND {
        let (kind, expected) = (kind.as_raw(), S::KIND.as_raw());
        return Err(InheritError::WrongKind { kind, expected });
    }
    Ok((fd, socket_acceptconn(fd).map_err(of("getsockopt SO_ACCEPTCONN"))?))
}

/// Takes over an open descriptor.
///
/// # Safety
/// It is open and nothing else in this process owns it.
unsafe fn taken(number: RawFd) -> Result<OwnedFd, InheritError> {
    // SAFETY: that is what the caller promises.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC).map_err(of("fcntl"))?;
    let fd = above_stdio(fd).map_err(InheritError::System)?;
    if number < 3 {
        open_stdio().map_err(InheritError::System)?;
    }
    Ok(fd)
}

fn of(call: &'static str) -> impl FnOnce(Errno) -> InheritError {
    move |error| InheritError::System(SystemError::of(call)(error))
}
