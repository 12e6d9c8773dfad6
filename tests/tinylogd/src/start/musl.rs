//! With a C library, which has an entry and memory functions of its own.

#![expect(unsafe_code, reason = "the function that the C library calls")]

#[link(name = "c")]
unsafe extern "C" {}

/// The arguments lie where the kernel has put them, behind their number.
#[unsafe(no_mangle)]
extern "C" fn main(_count: i32, arguments: *const usize) -> i32 {
    super::enter(arguments.wrapping_sub(1))
}
