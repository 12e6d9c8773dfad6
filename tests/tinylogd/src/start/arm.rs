//! armv7: the entry.

use core::arch::global_asm;

// The kernel enters with the arguments on the stack; a function expects it aligned to 8 bytes.
global_asm!(
    ".globl _start",
    "_start:",
    "mov fp, #0",
    "mov lr, #0",
    "mov r0, sp",
    "bic sp, sp, #7",
    "bl {enter}",
    "udf #0",
    enter = sym super::enter,
);
