//! posix_spawn of the C library. Its cost does not grow with the memory of this process.

#![expect(unsafe_code, reason = "calls of the C library, which take pointers")]

use core::ffi::{c_char, c_short};
use core::mem::MaybeUninit;

use ipc_transport::SystemError;
use rustix::fd::AsRawFd;
use rustix::process::Pid;

use super::child::Child;
use super::fork::ForkError;
use super::program::{Ready, SpawnError};
use super::signals::{Mask, NONE};

unsafe extern "C" {
    /// See environ(7).
    static environ: *const *const c_char;
}

/// `POSIX_SPAWN_SETSIGDEF` and `POSIX_SPAWN_SETSIGMASK`.
const FLAGS: c_short = 4 | 8;

/// Returns the environment of the C library.
pub(super) fn environment() -> *const *const c_char {
    // SAFETY: the C library keeps a list there. The program must ensure that no other thread
    // changes it, as for every exec of the C library.
    unsafe { environ }
}

/// Starts a program. `None` if a fork may succeed, or may give a better error.
pub(super) fn spawn(ready: &Ready<'_>, mask: Mask) -> Result<Option<Child>, SpawnError> {
    let (mut actions, mut attributes) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    let (mut all, mut masked) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    let (actions, attributes) = (actions.as_mut_ptr(), attributes.as_mut_ptr());
    let (all, masked) = (all.as_mut_ptr(), masked.as_mut_ptr());
    // SAFETY: the call initializes its argument, as do the next three.
    unsafe { libc::sigfillset(all) };
    let fill = if mask == NONE { libc::sigemptyset } else { libc::sigfillset };
    // SAFETY: as above.
    unsafe { fill(masked) };
    // SAFETY: as above. It never fails on Linux.
    let mut errno = unsafe { libc::posix_spawnattr_init(attributes) };
    // SAFETY: as above.
    errno |= unsafe { libc::posix_spawn_file_actions_init(actions) };
    // SAFETY: the attributes and the set are initialized, as for the next two.
    errno |= unsafe { libc::posix_spawnattr_setsigdefault(attributes, all) };
    // SAFETY: as above.
    errno |= unsafe { libc::posix_spawnattr_setsigmask(attributes, masked) };
    // SAFETY: as above.
    errno |= unsafe { libc::posix_spawnattr_setflags(attributes, FLAGS) };
    for (fd, number) in &ready.fds {
        // SAFETY: the actions are initialized.
        errno |=
            unsafe { libc::posix_spawn_file_actions_adddup2(actions, fd.as_raw_fd(), *number) };
    }
    let (mut pid, path, [args, env]) =
        (0, ready.path().as_ptr(), ready.lists().map(|it| it.cast()));
    if errno == 0 {
        // SAFETY: the lists end with a null pointer and are not written to. All arguments are
        // initialized.
        errno = unsafe { libc::posix_spawn(&raw mut pid, path, actions, attributes, args, env) };
    } else {
        errno = libc::ENOSYS;
    }
    // SAFETY: the actions are initialized, and not used afterwards.
    unsafe { libc::posix_spawn_file_actions_destroy(actions) };
    // SAFETY: as above.
    unsafe { libc::posix_spawnattr_destroy(attributes) };
    match errno {
        0 => Ok(Pid::from_raw(pid).map(Child::new)),
        // From the clone. An exec that lacks memory is reported the same way.
        libc::EAGAIN | libc::ENOMEM => {
            Err(ForkError::System(SystemError::of("posix_spawn")(errno)).into())
        }
        // A filter refuses a call that the C library needs, or a number is out of range.
        libc::EPERM | libc::ENOSYS | libc::EINVAL | libc::EBADF => Ok(None),
        // An open file is executed through `/proc`, which may be missing.
        libc::ENOENT if ready.file.is_some() => Ok(None),
        _ => Err(ready.failed(errno).into()),
    }
}
