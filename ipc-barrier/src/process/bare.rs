//! What only a C library has.

use core::ffi::c_char;
use core::ptr;

use super::child::Child;
use super::program::{Ready, SpawnError};
use super::signals::Mask;

/// Returns an environment of no variables (execve(2)).
pub(super) const fn environment() -> *const *const c_char {
    ptr::null()
}

/// Starts nothing.
pub(super) const fn spawn(_: &Ready<'_>, _: Mask) -> Result<Option<Child>, SpawnError> {
    Ok(None)
}
