//! Taking over sockets that the process was started with.

#![expect(unsafe_code, reason = "a number does not say who owns the descriptor")]

use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::{Errno, FdFlags};
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, getpeername};

use crate::descriptor::{above_stdio, open_stdio};
use crate::unix::listen::{Listener, SocketError, of};
use crate::unix::socket::Socket;

/// Takes over the connected socket that the process was started with at a number, and makes it
/// close-on-exec. One at 0, 1 or 2 is moved above, and `/dev/null` takes its place.
///
/// A service manager that passes sockets by number begins at 3 (sd_listen_fds(3)).
///
/// # Errors
/// See [`SocketError`].
///
/// # Safety
/// Nothing else in this process owns the descriptor, now or later.
pub unsafe fn inherit<S: Socket>(number: RawFd) -> Result<S, SocketError> {
    // SAFETY: the caller's promise is the one that this asks for.
    let fd = unsafe { checked::<S>(number) }?;
    getpeername(fd).map_err(of("getpeername"))?;
    // SAFETY: as above, and the descriptor is open.
    Ok(unsafe { taken(number) }?.into())
}

impl<S: Socket> Listener<S> {
    /// Takes over the listening socket that the process was started with at a number, as
    /// [`inherit`] does. Its path belongs to the program that made it and is never removed.
    ///
    /// # Errors
    /// See [`SocketError`].
    ///
    /// # Safety
    /// Nothing else in this process owns the descriptor, now or later.
    pub unsafe fn inherit(number: RawFd) -> Result<Self, SocketError> {
        // SAFETY: the caller's promise is the one that this asks for.
        let fd = unsafe { checked::<S>(number) }?;
        if !socket_acceptconn(fd).map_err(of("getsockopt SO_ACCEPTCONN"))? {
            return Err(SocketError::NotListening);
        }
        // SAFETY: as above, and the descriptor is open.
        Ok(Self::taken_over(unsafe { taken(number) }?))
    }
}

/// Returns a descriptor that is a socket of the kind.
///
/// # Safety
/// If the number is open it stays so while the answer is used.
unsafe fn checked<'fd, S: Socket>(number: RawFd) -> Result<BorrowedFd<'fd>, SocketError> {
    if number < 0 {
        return Err(of("getsockopt SO_DOMAIN")(Errno::BADF));
    }
    // SAFETY: the number is only asked about; that it stays open is the caller's promise.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let family = socket_domain(fd).map_err(of("getsockopt SO_DOMAIN"))?;
    let kind = socket_type(fd).map_err(of("getsockopt SO_TYPE"))?;
    if (family, kind) != (AddressFamily::UNIX, S::KIND) {
        let (family, kind, expected) = (family.as_raw(), kind.as_raw(), S::KIND.as_raw());
        return Err(SocketError::WrongKind { family, kind, expected });
    }
    Ok(fd)
}

/// Takes over an open descriptor.
///
/// # Safety
/// It is open and nothing else in this process owns it.
unsafe fn taken(number: RawFd) -> Result<OwnedFd, SocketError> {
    // SAFETY: that is what the caller promises.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC).map_err(of("fcntl"))?;
    let fd = above_stdio(fd).map_err(SocketError::System)?;
    if number < 3 {
        open_stdio().map_err(SocketError::System)?;
    }
    Ok(fd)
}
