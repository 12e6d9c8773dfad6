//! Signals around a fork: the parent's handlers, ignored signals and mask must not reach the child.

#![expect(unsafe_code, reason = "signals by raw system calls, which take pointers")]

use core::marker::PhantomData;
use core::ptr;

use ipc_transport::SystemError;
use syscalls::{Sysno, syscall};

/// The kernel's signal mask.
pub(super) type Mask = u64;
const MASK_SIZE: usize = size_of::<Mask>();

/// `SIG_SETMASK` of rt_sigprocmask(2).
const SET_MASK: usize = 2;
/// The highest signal.
const LAST: i32 = 64;
/// The first signal that a C library uses internally, to cancel threads and to change the ids of
/// all threads together.
const FIRST_OF_LIBC: i32 = 32;
/// The first signal after those: the C library's `SIGRTMIN`.
const END_OF_LIBC: i32 = if cfg!(target_env = "musl") { 35 } else { 34 };

/// All signals except those of the C library, and no signal.
pub(super) const ALL: Mask = !((1 << (END_OF_LIBC - 1)) - (1 << (FIRST_OF_LIBC - 1)));
pub(super) const NONE: Mask = 0;

/// `SIG_DFL` and `SIG_IGN`.
const DEFAULT: usize = 0;
const IGNORE: usize = 1;

/// Keeps all signals blocked for this thread. Dropping it restores the previous mask. It cannot
/// move to another thread, because each thread has a separate mask.
#[derive(Debug)]
#[must_use = "dropping it restores the mask"]
pub struct BlockedSignals(Mask, PhantomData<*const ()>);

/// Blocks all signals for this thread (rt_sigprocmask(2)). Call it before a fork: the parent's
/// handlers must not run in the child, where they would write to the parent's pipes. After the
/// fork, call [`reset_signals`] in the child, and drop the value in the parent.
///
/// # Errors
/// Fails only if a sandbox refuses the call.
///
/// # Examples
/// ```
/// use ipc_barrier::process::{Fork, block_signals, exit, fork, reset_signals};
///
/// let blocked = block_signals()?;
/// if let Ok(Fork::Child(_guard)) = fork() {
///     let failed = reset_signals(&[2, 15]).is_err(); // SIGINT, SIGTERM
///     exit(failed.into());
/// }
/// drop(blocked);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "rt_sigprocmask")]
pub fn block_signals() -> Result<BlockedSignals, SystemError> {
    Ok(BlockedSignals(set_mask(Mask::MAX)?, PhantomData))
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // The mask was valid before, so this does not fail.
        _ = set_mask(self.0);
    }
}

/// Ignores the listed signals, sets every other signal to its default action, and unblocks all.
///
/// Call it in a forked child. The parent's handlers would run there too, and might write to
/// descriptors that now are other files. Programs that the child starts would inherit ignored and
/// blocked signals.
///
/// The signals that the C library uses internally (32 and 33, with musl also 34) keep their action.
///
/// # Errors
/// `EINVAL` for an invalid signal number, `SIGKILL` or `SIGSTOP`. Some signals may already be
/// changed.
#[doc(alias = "rt_sigaction")]
pub fn reset_signals(ignored: &[i32]) -> Result<(), SystemError> {
    reset(ignored, NONE)
}

/// As [`reset_signals`], with any mask.
pub(super) fn reset(ignored: &[i32], mask: Mask) -> Result<(), SystemError> {
    for &signal in ignored {
        sigaction(signal, Some(IGNORE))?;
    }
    for signal in (1..=LAST).filter(|signal| !(FIRST_OF_LIBC..END_OF_LIBC).contains(signal)) {
        let has_action = || sigaction(signal, None).is_ok_and(|handler| handler != DEFAULT);
        if !ignored.contains(&signal) && has_action() {
            sigaction(signal, Some(DEFAULT))?;
        }
    }
    set_mask(mask).map(drop)
}

/// Sets this thread's mask, and returns the previous one.
fn set_mask(mask: Mask) -> Result<Mask, SystemError> {
    let mut before = 0;
    let places = (&raw const mask, &raw mut before);
    // SAFETY: the kernel reads one mask and writes the other; both have the kernel's size.
    unsafe { syscall!(Sysno::rt_sigprocmask, SET_MASK, places.0, places.1, MASK_SIZE) }
        .map_err(|error| SystemError::of("rt_sigprocmask")(error.into_raw()))?;
    Ok(before)
}

/// Returns a signal's handler, and sets a new one if given (rt_sigaction(2)).
fn sigaction(signal: i32, handler: Option<usize>) -> Result<usize, SystemError> {
    /// At least as large as the kernel's `struct sigaction`. For the handlers set here, flags, mask
    /// and (on some machines) restorer may be zero. Only the first word matters: the handler.
    type Action = [usize; 40];
    let (mut new, mut old): (Action, Action) = ([0; 40], [0; 40]);
    new[0] = handler.unwrap_or_default();
    let place = handler.map_or(ptr::null(), |_| new.as_ptr());
    // SAFETY: the kernel reads one action and writes the other; both are larger than its own.
    unsafe { syscall!(Sysno::rt_sigaction, signal, place, old.as_mut_ptr(), MASK_SIZE) }
        .map_err(|error| SystemError::of("rt_sigaction")(error.into_raw()))?;
    Ok(old[0])
}
