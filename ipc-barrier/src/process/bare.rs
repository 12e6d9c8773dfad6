//! Stand-ins for a build without a C library.

use core::ffi::c_char;
use core::ptr;

use super::child::Child;
use super::program::{Ready, SpawnError};
use super::signals::Mask;

/// Returns an empty environment (execve(2)).
pub(super) const fn environment() -> *const *const c_char {
    ptr::null()
}

/// Starts nothing: there is no posix_spawn.
pub(super) const fn spawn(_: &Ready<'_>, _: Mask) -> Result<Option<Child>, SpawnError> {
    Ok(None)
}
