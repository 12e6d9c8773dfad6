//! The numbers that a directory of /proc lists.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fd::{AsRawFd, RawFd};
use rustix::fs::{CWD, Mode, OFlags, RawDir};
use rustix::io::Errno;

/// Calls `each` with every number, and with that of the descriptor it is read from.
pub(super) fn each_number(path: &CStr, mut each: impl FnMut(i32, RawFd)) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let list = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut entries = RawDir::new(&list, &mut buffer);
    while let Some(entry) = entries.next() {
        // Besides digits there are only the names "." and "..".
        let number = entry?.file_name().to_bytes().iter().try_fold(0_i32, |number, digit| {
            number.checked_mul(10)?.checked_add(digit.checked_sub(b'0')?.into())
        });
        if let Some(number) = number {
            each(number, list.as_raw_fd());
        }
    }
    Ok(())
}
