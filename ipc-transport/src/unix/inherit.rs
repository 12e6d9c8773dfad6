//! Taking over sockets that the process inherited.

#![expect(unsafe_code, reason = "a bare number does not own its descriptor")]

use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::{Errno, FdFlags};
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, getpeername};

use crate::descriptor::{above_stdio, open_stdio};
use crate::unix::listen::{Listener, SocketError, of};
use crate::unix::socket::Socket;

/// Takes over the connected socket that the process inherited at descriptor `number`, and makes it
/// close-on-exec. A socket at 0, 1 or 2 moves above 2 and is replaced by `/dev/null`.
///
/// Service managers pass sockets from 3 on (sd_listen_fds(3)).
///
/// # Errors
/// See [`SocketError`].
///
/// # Safety
/// Nothing else in this process owns the descriptor, now or later.
pub unsafe fn inherit<S: Socket>(number: RawFd) -> Result<S, SocketError> {
    // SAFETY: the caller makes the same promise.
    let fd = unsafe { checked::<S>(number) }?;
    getpeername(fd).map_err(of("getpeername"))?;
    // SAFETY: as above, and the descriptor is open.
    Ok(unsafe { taken(number) }?.into())
}

impl<S: Socket> Listener<S> {
    /// Takes over the listening socket that the process inherited at descriptor `number`, as
    /// [`inherit`] does. Its path belongs to the program that made it and is never removed.
    ///
    /// # Errors
    /// See [`SocketError`].
    ///
    /// # Safety
    /// Nothing else in this process owns the descriptor, now or later.
    pub unsafe fn inherit(number: RawFd) -> Result<Self, SocketError> {
        // SAFETY: the caller makes the same promise.
        let fd = unsafe { checked::<S>(number) }?;
        if !socket_acceptconn(fd).map_err(of("getsockopt SO_ACCEPTCONN"))? {
            return Err(SocketError::NotListening);
        }
        // SAFETY: as above, and the descriptor is open.
        Ok(Self::taken_over(unsafe { taken(number) }?))
    }
}

/// Returns the descriptor if it is a socket of the kind.
///
/// # Safety
/// If the descriptor is open, it stays open while the result is used.
unsafe fn checked<'fd, S: Socket>(number: RawFd) -> Result<BorrowedFd<'fd>, SocketError> {
    if number < 0 {
        return Err(of("getsockopt SO_DOMAIN")(Errno::BADF));
    }
    // SAFETY: the calls only query the number; the caller promises that it stays open.
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
/// The descriptor is open, and nothing else in this process owns it.
unsafe fn taken(number: RawFd) -> Result<OwnedFd, SocketError> {
    // SAFETY: the caller promises just that.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC).map_err(of("fcntl"))?;
    let fd = above_stdio(fd).map_err(SocketError::System)?;
    if number < 3 {
        open_stdio().map_err(SocketError::System)?;
    }
    Ok(fd)
}
