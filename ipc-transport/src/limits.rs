//! The resource limits of this process.

#![expect(unsafe_code, reason = "rustix's call panics if a sandbox refuses it")]

use syscalls::{Sysno, syscall};

/// `RLIMIT_FSIZE`: bytes of the longest file, memfds included.
pub(crate) const FSIZE: usize = 1;

/// Returns the soft and the hard limit of a resource, by its number; the highest value means no
/// limit (prlimit(2)). Returns `None` if a sandbox refuses the call.
pub fn limits_of(resource: usize) -> Option<[u64; 2]> {
    // The kernel's `struct rlimit64`.
    let mut limits = [0_u64; 2];
    // SAFETY: the kernel writes two numbers of 64 bits, and reads none.
    let asked = unsafe { syscall!(Sysno::prlimit64, 0, resource, 0, limits.as_mut_ptr()) };
    asked.ok().map(|_| limits)
}
