//! aarch64: the entry, and a function that compiler-builtins needs.

#![expect(unsafe_code, reason = "a function that compiler-builtins refers to")]

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

/// Reports no hardware capabilities, such as the atomic instructions of ARMv8.1. The caller is a
/// constructor, which does not run without a C library: older instructions are used.
#[unsafe(no_mangle)]
extern "C" fn getauxval(_kind: usize) -> usize {
    0
}
