//! aarch64: the entry, and what the compiler's own library asks.

#![expect(unsafe_code, reason = "a function that the compiler's library names")]

use core::arch::global_asm;

// The kernel enters with the arguments on the stack, which is aligned.
global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "bl {enter}",
    "brk #1",
    enter = sym super::enter,
);

/// Whether there are the atomic instructions of ARMv8.1 (getauxval(3)), which a constructor asks that
/// runs nowhere without a C library: the older ones do.
#[unsafe(no_mangle)]
extern "C" fn getauxval(_kind: usize) -> usize {
    0
}
