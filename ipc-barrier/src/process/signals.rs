//! What a forked child does upon the signals that its parent handles or ignores.

#![expect(unsafe_code, reason = "signals by the raw system call, which takes pointers")]

use ipc_transport::{Errno, SystemError};
use syscalls::{Sysno, syscall};

/// The kernel's `struct sigaction`, and more (rt_sigaction(2)). Flags, mask and, on some machines,
/// a restorer may all be zero for the actions set here, so only the handler's place matters.
type Action = [usize; 40];

const IS_MIPS: bool = cfg!(any(target_arch = "mips", target_arch = "mips64"));
/// Where the handler is: first, but on mips after the flags.
const HANDLER: usize = if IS_MIPS { 1 } else { 0 };
/// Bytes of the kernel's signal mask.
const MASK_SIZE: usize = if IS_MIPS { 16 } else { 8 };
/// The highest signal.
const LAST: i32 = if IS_MIPS { 128 } else { 64 };
/// The first of the signals that a C library uses itself: to cancel threads, and to change the ids
/// of all threads together.
const FIRST_OF_LIBC: i32 = 32;
/// The first after them, which is the C library's `SIGRTMIN`.
const END_OF_LIBC: i32 = if cfg!(target_env = "musl") { 35 } else { 34 };

/// `SIG_DFL` and `SIG_IGN`.
const DEFAULT: Action = [0; 40];
const IGNORE: Action = {
    let mut action = DEFAULT;
    action[HANDLER] = 1;
    action
};

/// Ignores the listed signals, and gives every other signal that has a handler its default action.
/// For a forked child: a handler of its parent's would run there too, and write to descriptors
/// that are other files by then.
///
/// Signals that are ignored already stay so, and the signal mask is left alone. So are the signals
/// that the C library uses itself (32 and 33, with musl also 34).
///
/// # Errors
/// `EINVAL` for an invalid signal number, and for `SIGKILL` and `SIGSTOP`; some signals may be
/// changed by then.
///
/// # Examples
/// ```
/// use ipc_barrier::process::{Fork, exit, fork, reset_signals};
///
/// if let Ok(Fork::Child(_guard)) = fork() {
///     let failed = reset_signals(&[2, 15]).is_err(); // SIGINT, SIGTERM
///     exit(failed.into());
/// }
/// ```
#[doc(alias = "rt_sigaction")]
pub fn reset_signals(ignored: &[i32]) -> Result<(), SystemError> {
    for &signal in ignored {
        set_action(signal, &IGNORE)?;
    }
    for signal in (1..=LAST).filter(|signal| !(FIRST_OF_LIBC..END_OF_LIBC).contains(signal)) {
        if has_handler(signal) {
            set_action(signal, &DEFAULT)?;
        }
    }
    Ok(())
}

fn set_action(signal: i32, action: &Action) -> Result<(), SystemError> {
    // SAFETY: the kernel only reads `action`, which is longer than its structure; it installs no
    // handler and returns no old action.
    unsafe { syscall!(Sysno::rt_sigaction, signal, action.as_ptr(), 0, MASK_SIZE) }
        .map(|_| ())
        .map_err(|error| SystemError { call: "rt_sigaction", errno: Errno(error.into_raw()) })
}

fn has_handler(signal: i32) -> bool {
    let mut action = DEFAULT;
    // SAFETY: the kernel writes its structure into `action`, which is longer; nothing is changed.
    let asked = unsafe { syscall!(Sysno::rt_sigaction, signal, 0, action.as_mut_ptr(), MASK_SIZE) };
    asked.is_ok() && action[HANDLER] > 1
}
