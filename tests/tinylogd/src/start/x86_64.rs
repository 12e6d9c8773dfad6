//! What a C library would give: the first instruction, and the memory functions that the
//! compiler calls. Their loops are instructions, for the compiler would turn loops in Rust into
//! calls of the very same functions.

#![expect(unsafe_code, reason = "the program's entry and the functions that the compiler calls")]

use core::arch::{asm, global_asm};
use core::ffi::{CStr, c_char};
use core::panic::PanicInfo;

use ipc_barrier::exit;

/// Exit status after a panic.
const PANICKED: i32 = 101;

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
    enter = sym enter,
);

/// The stack begins with the number of arguments, and pointers to them.
extern "C" fn enter(stack: *const usize) -> ! {
    // SAFETY: the kernel has put the number there.
    let count = unsafe { stack.read() };
    let argument = (count > 1).then(|| {
        // SAFETY: it has put so many pointers behind it.
        let argument = unsafe { stack.add(2) }.cast::<*const c_char>();
        // SAFETY: as above.
        let argument = unsafe { argument.read() };
        // SAFETY: each points to a string that ends with a zero and stays for ever.
        unsafe { CStr::from_ptr(argument) }
    });
    exit(crate::run(argument).map_or_else(|failed| failed as i32, |()| 0))
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    exit(PANICKED)
}

/// Writes a line to standard output. Where that is closed nothing is said.
pub(crate) fn say(line: &[u8]) {
    // SAFETY: this program never closes its standard output.
    let stdout = unsafe { rustix::stdio::stdout() };
    _ = rustix::io::write(stdout, line);
}

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
    // SAFETY: as above; the copy goes backwards, since `to` lies within what is read.
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
    // SAFETY: the caller gives `len` bytes at each place. The flags begin as equal, for no bytes.
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
    // SAFETY: the caller gives a text that ends with a zero.
    unsafe {
        asm!("repne scasb",
            inout("rcx") usize::MAX => rest, inout("rdi") text => _, in("al") 0_u8,
            options(nostack, readonly));
    }
    // One less for the zero itself, and one since the count began at -1.
    usize::MAX - rest - 1
}
