//! What a forked child does upon the signals that its parent handles, ignores or blocks.

#![expect(unsafe_code, reason = "signals by the raw system call, which takes pointers")]

use core::marker::PhantomData;
use core::ptr;

use ipc_transport::SystemError;
use syscalls::{Sysno, syscall};

/// The kernel's signal mask.
pub(super) type Mask = u64;
const MASK_SIZE: usize = size_of::<Mask>();

/// Sets a thread's mask (rt_sigprocmask(2)).
const SET_MASK: usize = 2;
/// The highest signal.
const LAST: i32 = 64;
/// The first of the signals that a C library uses itself: to cancel threads, and to change the ids
/// of all threads together.
const FIRST_OF_LIBC: i32 = 32;
/// The first after them, which is the C library's `SIGRTMIN`.
const END_OF_LIBC: i32 = if cfg!(target_env = "musl") { 35 } else { 34 };

/// All signals but those of the C library, and no signal.
pub(super) const ALL: Mask = !((1 << (END_OF_LIBC - 1)) - (1 << (FIRST_OF_LIBC - 1)));
pub(super) const NONE: Mask = 0;

/// `SIG_DFL` and `SIG_IGN`.
const DEFAULT: usize = 0;
const IGNORE: usize = 1;

/// All signals blocked for this thread, until this is dropped and the mask is as before. The mask is
/// the thread's, so this stays with it.
#[derive(Debug)]
#[must_use = "dropping it restores the mask"]
pub struct BlockedSignals(Mask, PhantomData<*const ()>);

/// Blocks all signals for this thread (rt_sigprocmask(2)), for the time of a fork: a handler of the
/// parent's must not run in the child, where it would write to the parent's pipes. In the child
/// [`reset_signals`] follows, in the parent the value is dropped.
///
/// # Errors
/// Only those of a sandbox.
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
        // What could be set before can be set again.
        _ = set_mask(self.0);
    }
}

/// Ignores the listed signals, gives every other one its default action, and blocks none. For a
/// forked child: a handler of its parent's would run there too, and write to descriptors that are
/// other files by then; and programs that the child starts would inherit what is ignored or blocked.
///
/// The signals that the C library uses itself (32 and 33, with musl also 34) keep their action.
///
/// # Errors
/// `EINVAL` for an invalid signal number, and for `SIGKILL` and `SIGSTOP`; some signals may be
/// changed by then.
#[doc(alias = "rt_sigaction")]
pub fn reset_signals(ignored: &[i32]) -> Result<(), SystemError> {
    reset(ignored, NONE)
}

/// The same, with any mask.
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

/// Sets this thread's mask, and returns the one before.
fn set_mask(mask: Mask) -> Result<Mask, SystemError> {
    let mut before = 0;
    let places = (&raw const mask, &raw mut before);
    // SAFETY: the kernel reads one mask and writes the other, which are as long as its own.
    unsafe { syscall!(Sysno::rt_sigprocmask, SET_MASK, places.0, places.1, MASK_SIZE) }
        .map_err(|error| SystemError::of("rt_sigprocmask")(error.into_raw()))?;
    Ok(before)
}

/// Returns a signal's handler, and sets another one if there is any (rt_sigaction(2)).
fn sigaction(signal: i32, handler: Option<usize>) -> Result<usize, SystemError> {
    /// The kernel's `struct sigaction`, and more. Flags, mask and, on some machines, a restorer may
    /// all be zero for the handlers set here, so only the handler matters: the first word.
    type Action = [usize; 40];
    let (mut new, mut old): (Action, Action) = ([0; 40], [0; 40]);
    new[0] = handler.unwrap_or_default();
    let place = handler.map_or(ptr::null(), |_| new.as_ptr());
    // SAFETY: the kernel reads one action and writes the other, which are longer than its own.
    unsafe { syscall!(Sysno::rt_sigaction, signal, place, old.as_mut_ptr(), MASK_SIZE) }
        .map_err(|error| SystemError::of("rt_sigaction")(error.into_raw()))?;
    Ok(old[0])
}
