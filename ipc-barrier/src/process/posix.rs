//! posix_spawn of the C library, whose cost does not grow with this process's memory.

#![expect(unsafe_code, reason = "calls of the C library, which take pointers")]

use core::ffi::{c_char, c_int, c_short};
use core::mem::MaybeUninit;

use ipc_transport::{Errno, SystemError};
use rustix::fd::{AsRawFd, OwnedFd, RawFd};
use rustix::process::Pid;

use super::child::Child;
use super::fork::ForkError;
use super::program::Ready;
use super::signals::{Mask, NONE};
use super::spawn_error::SpawnError;

unsafe extern "C" {
    /// Of environ(7).
    static environ: *const *const c_char;
}

/// Returns the environment of the C library.
pub(super) fn environment() -> *const *const c_char {
    // SAFETY: the C library keeps a list there. That no other thread changes it is the program's
    // part, as for every exec of the C library.
    unsafe { environ }
}

/// Starts a program with these descriptors at these numbers. `None` where a fork may do better, or
/// tells better what is wrong.
pub(super) fn spawn(
    ready: &Ready<'_>,
    fds: &[(OwnedFd, RawFd)],
    mask: Mask,
) -> Result<Option<Child>, SpawnError> {
    let mut actions = MaybeUninit::uninit();
    let actions = Actions::new(&mut actions)?;
    for (fd, number) in fds {
        // SAFETY: the list of actions is initialized.
        let added =
            unsafe { libc::posix_spawn_file_actions_adddup2(actions.0, fd.as_raw_fd(), *number) };
        if added != 0 {
            return Ok(None);
        }
    }
    let mut attributes = MaybeUninit::uninit();
    let attributes = Attributes::new(&mut attributes, mask)?;
    let (mut pid, path) = (0, ready.path().as_ptr());
    let (args, env) = (ready.args().cast(), ready.env().cast());
    // SAFETY: the lists end with a null pointer and are not written to; the others are initialized.
    match unsafe { libc::posix_spawn(&raw mut pid, path, actions.0, attributes.0, args, env) } {
        0 => Ok(Pid::from_raw(pid).map(Child::new)),
        // Of the clone, though an exec may lack memory too.
        errno @ (libc::EAGAIN | libc::ENOMEM) => {
            Err(ForkError::System(SystemError::of("posix_spawn")(errno)).into())
        }
        // The C library needs a call that a filter refuses, or a number cannot be had.
        libc::EPERM | libc::ENOSYS | libc::EINVAL | libc::EBADF => Ok(None),
        errno => Err(ready.failed(Errno(errno)).into()),
    }
}

/// What the child does with its descriptors, initialized until this is dropped.
struct Actions<'a>(&'a mut libc::posix_spawn_file_actions_t);

impl<'a> Actions<'a> {
    fn new(
        place: &'a mut MaybeUninit<libc::posix_spawn_file_actions_t>,
    ) -> Result<Self, SystemError> {
        // SAFETY: the call writes the place.
        check(unsafe { libc::posix_spawn_file_actions_init(place.as_mut_ptr()) })?;
        // SAFETY: it is initialized.
        Ok(Self(unsafe { place.assume_init_mut() }))
    }
}

impl Drop for Actions<'_> {
    fn drop(&mut self) {
        // SAFETY: it is initialized, and not used afterwards.
        unsafe { libc::posix_spawn_file_actions_destroy(self.0) };
    }
}

/// The child's signals: all have their default action.
struct Attributes<'a>(&'a mut libc::posix_spawnattr_t);

impl<'a> Attributes<'a> {
    fn new(
        place: &'a mut MaybeUninit<libc::posix_spawnattr_t>,
        mask: Mask,
    ) -> Result<Self, SystemError> {
        const FLAGS: c_int = libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK;
        #[expect(clippy::cast_possible_truncation, reason = "they are 4 and 8")]
        const SHORT: c_short = FLAGS as c_short;
        // SAFETY: the call writes the place.
        check(unsafe { libc::posix_spawnattr_init(place.as_mut_ptr()) })?;
        // SAFETY: it is initialized.
        let attributes = Self(unsafe { place.assume_init_mut() });
        let (mut all, mut none) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: the call writes all of the set.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        // SAFETY: as above.
        unsafe { libc::sigemptyset(none.as_mut_ptr()) };
        let mask = if mask == NONE { none.as_ptr() } else { all.as_ptr() };
        // SAFETY: the attributes and the sets are initialized, here and below.
        check(unsafe { libc::posix_spawnattr_setsigdefault(attributes.0, all.as_ptr()) })?;
        // SAFETY: as above.
        check(unsafe { libc::posix_spawnattr_setsigmask(attributes.0, mask) })?;
        // SAFETY: as above.
        check(unsafe { libc::posix_spawnattr_setflags(attributes.0, SHORT) })?;
        Ok(attributes)
    }
}

impl Drop for Attributes<'_> {
    fn drop(&mut self) {
        // SAFETY: they are initialized, and not used afterwards.
        unsafe { libc::posix_spawnattr_destroy(self.0) };
    }
}

fn check(errno: c_int) -> Result<(), SystemError> {
    if errno == 0 { Ok(()) } else { Err(SystemError::of("posix_spawn")(errno)) }
}
