//! What a C library would provide: the entry point, the memory functions that the compiler calls,
//! the arguments and the exit. Copy this with `build.rs` and `link.ld` into any program that has
//! `fn main(Strings, Strings) -> i32` at its root.

#![expect(unsafe_code, reason = "the program's entry, and its arguments, which are pointers")]

#[cfg_attr(feature = "musl", path = "start/musl.rs")]
#[cfg_attr(all(target_arch = "x86_64", not(feature = "musl")), path = "start/x86_64.rs")]
#[cfg_attr(all(target_arch = "aarch64", not(feature = "musl")), path = "start/aarch64.rs")]
#[cfg_attr(all(target_arch = "arm", not(feature = "musl")), path = "start/arm.rs")]
#[cfg_attr(all(target_arch = "riscv64", not(feature = "musl")), path = "start/riscv64.rs")]
mod machine;
#[cfg(not(any(target_arch = "x86_64", feature = "musl")))]
#[path = "start/memory.rs"]
mod memory;

use core::ffi::{CStr, c_char};
use core::panic::PanicInfo;

use ipc_barrier::exit;

/// Exit status after a panic, as in any Rust program.
const PANICKED: i32 = 101;

/// The program's arguments, starting with its name; or its environment.
pub(crate) struct Strings(*const *const c_char);

/// The stack starts with the number of arguments. Pointers to them follow, then a null pointer, the
/// pointers to the environment and another null pointer.
extern "C" fn enter(stack: *const usize) -> ! {
    // SAFETY: the kernel stores the number there.
    let count = unsafe { stack.read() };
    let arguments = stack.wrapping_add(1).cast();
    exit(crate::main(Strings(arguments), Strings(arguments.wrapping_add(count + 1))))
}

impl Iterator for Strings {
    type Item = &'static CStr;

    /// Stays at the null pointer.
    fn next(&mut self) -> Option<&'static CStr> {
        // SAFETY: the kernel stores the pointers there, up to and including the null pointer.
        let string = unsafe { self.0.read() };
        if string.is_null() {
            return None;
        }
        self.0 = self.0.wrapping_add(1);
        // SAFETY: each points to a NUL-terminated string that is never freed.
        Some(unsafe { CStr::from_ptr(string) })
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    exit(PANICKED)
}
