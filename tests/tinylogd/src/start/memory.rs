//! The memory functions that the compiler calls, for any machine. An empty `asm!` in each loop
//! keeps the compiler from turning the loop into a call of the same function.

#![expect(unsafe_code, reason = "the functions that the compiler calls")]

use core::arch::asm;

/// Hides a loop from the compiler.
#[inline(always)]
fn hide() {
    // SAFETY: the assembly is empty.
    unsafe { asm!("", options(nomem, nostack, preserves_flags)) };
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    for index in 0..len {
        hide();
        // SAFETY: the caller gives `len` bytes at each place.
        let byte = unsafe { from.add(index).read() };
        // SAFETY: as above.
        unsafe { to.add(index).write(byte) };
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
    // Backwards, since `to` is inside the source.
    for index in (0..len).rev() {
        hide();
        // SAFETY: the caller gives `len` bytes at each place.
        let byte = unsafe { from.add(index).read() };
        // SAFETY: as above.
        unsafe { to.add(index).write(byte) };
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
    let [byte, ..] = byte.to_le_bytes();
    for index in 0..len {
        hide();
        // SAFETY: the caller gives `len` bytes there.
        unsafe { to.add(index).write(byte) };
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    for index in 0..len {
        hide();
        // SAFETY: the caller gives `len` bytes at each place.
        let byte = unsafe { left.add(index).read() };
        // SAFETY: as above.
        let other = unsafe { right.add(index).read() };
        if byte != other {
            return i32::from(byte) - i32::from(other);
        }
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    // SAFETY: the caller promises the same.
    unsafe { memcmp(left, right, len) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut len = 0;
    // SAFETY: the caller gives a NUL-terminated string.
    while unsafe { text.add(len).read() } != 0 {
        hide();
        len += 1;
    }
    len
}
