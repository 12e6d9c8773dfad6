//! riscv64: the entry.

use core::arch::global_asm;

// The kernel enters with the arguments on the stack, which is aligned. The linker needs the global
// pointer for its short addresses.
global_asm!(
    ".globl _start",
    "_start:",
    ".option push",
    ".option norelax",
    "la gp, __global_pointer$",
    ".option pop",
    "mv fp, zero",
    "mv ra, zero",
    "mv a0, sp",
    "call {enter}",
    "unimp",
    enter = sym super::enter,
);
