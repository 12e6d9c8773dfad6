//! x86_64: the entry, and the memory functions, which use string instructions.

#![expect(unsafe_code, reason = "the functions that the compiler calls")]

use core::arch::{asm, global_asm};

// The kernel enters with the arguments on the stack; a function expects it aligned to 16 bytes
// before the call.
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {enter}",
    "ud2",
    enter = sym super::enter,
);

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: the caller gives `len` bytes at each place that do not overlap.
    unsafe {
        asm!("rep movsb",
            inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= len {
        // SAFETY: the caller gives `len` bytes at each place, and no byte is written before it
        // is read.
        return unsafe { memcpy(to, from, len) };
    }
    // SAFETY: as above; the copy goes backwards, since `to` is inside the source.
    unsafe {
        asm!("std", "rep movsb", "cld",
            inout("rcx") len => _,
            inout("rdi") to.wrapping_add(len).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(len).wrapping_sub(1) => _,
            options(nostack));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
    // SAFETY: the caller gives `len` bytes there.
    unsafe {
        asm!("rep stosb",
            inout("rcx") len => _, inout("rdi") to => _, in("eax") byte,
            options(nostack, preserves_flags));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    let (above, below): (u8, u8);
    // SAFETY: the caller gives `len` bytes at each place. The flags start as equal, in case
    // `len` is 0.
    unsafe {
        asm!("cmp ecx, ecx", "repe cmpsb", "seta {above}", "setb {below}",
            inout("rcx") len => _, inout("rsi") left => _, inout("rdi") right => _,
            above = out(reg_byte) above, below = out(reg_byte) below,
            options(nostack, readonly));
    }
    i32::from(above) - i32::from(below)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    // SAFETY: the caller promises the same.
    unsafe { memcmp(left, right, len) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let rest: usize;
    // SAFETY: the caller gives a NUL-terminated string.
    unsafe {
        asm!("repne scasb",
            inout("rcx") usize::MAX => rest, inout("rdi") text => _, in("al") 0_u8,
            options(nostack, readonly));
    }
    // One less for the NUL itself, and one because the count started at -1.
    usize::MAX - rest - 1
}
