//! The transport of the workers under test: the socket, or the ring with the feature `over-ring`.

use std::ffi::CStr;

use ipc_transport::SystemError;
use ipc_transport::fd::BorrowedFd;
use ipc_worker::{Exec, Fork, Handler, Holding, Reason, Refusal, Reply, Request, Start};

use crate::cases::leave_out;

/// The transport of the workers under test.
#[cfg(not(feature = "over-ring"))]
pub type Over = ipc_worker::OverSocket;
/// The transport of the workers under test.
#[cfg(feature = "over-ring")]
pub type Over = ipc_worker::OverRing;

/// Ends a case about the socket's calls and bytes if the ring replaces the socket.
pub fn only_the_socket() {
    if cfg!(feature = "over-ring") {
        leave_out("it is about the socket's calls and bytes");
    }
}

/// As [`Start::fork`].
pub fn fork<H: Handler>(handler: H) -> Start<Fork<H, Over>> {
    let start = Start::fork(handler);
    #[cfg(feature = "over-ring")]
    let start = start.over_ring();
    start
}

/// As [`Start::fork_with`].
pub fn fork_with<'fd, F, const N: usize>(
    fds: &[BorrowedFd<'fd>; N],
    function: F,
) -> Start<Fork<Holding<'fd, F, N>, Over>>
where
    F: FnMut(&mut Request<'_>, &mut Reply<'_>) -> Result<(), Refusal>,
{
    let start = Start::fork_with(fds, function);
    #[cfg(feature = "over-ring")]
    let start = start.over_ring();
    start
}

/// As [`Start::exec_self`].
///
/// # Errors
/// As that.
pub fn exec_self() -> Result<Start<Exec<'static, Over>>, SystemError> {
    let start = Start::exec_self();
    #[cfg(feature = "over-ring")]
    let start = start.map(Start::<Exec<'_>>::over_ring);
    start
}

/// As [`Start::exec`].
pub fn exec(path: &CStr) -> Start<Exec<'_, Over>> {
    let start = Start::exec(path);
    #[cfg(feature = "over-ring")]
    let start = start.over_ring();
    start
}

/// As [`ipc_worker::serve`].
pub fn serve<H: Handler, const SLOTS: usize, const BYTES: usize>(
    make: impl FnOnce() -> Result<H, Reason>,
) -> ! {
    #[cfg(not(feature = "over-ring"))]
    ipc_worker::serve::<H, SLOTS, BYTES>(make);
    #[cfg(feature = "over-ring")]
    ipc_worker::serve_over_ring::<H, SLOTS, BYTES>(make);
}
