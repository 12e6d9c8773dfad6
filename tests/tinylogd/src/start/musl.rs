//! With a C library, which brings its own entry and memory functions.

#![expect(unsafe_code, reason = "the function that the C library calls")]

#[link(name = "c")]
unsafe extern "C" {}

/// The arguments are where the kernel put them, after their number.
#[unsafe(no_mangle)]
extern "C" fn main(_count: i32, arguments: *const usize) -> i32 {
    super::enter(arguments.wrapping_sub(1))
}
