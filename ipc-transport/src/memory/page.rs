//! Memory that processes share, as words.

#![expect(unsafe_code, reason = "mapping memory and looking at it as words")]

use core::alloc::Layout;
use core::ffi::c_void;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU32;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create,
};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use static_assertions::assert_impl_all;

use crate::contract::SystemError;
use crate::descriptor::above_stdio;
use crate::limits::{FSIZE, limits_of};

/// The file's name in `/proc/PID/fd`.
const NAME: &str = "ipc-page";

/// Without these, any process that has the file can shrink it under the processes that map it.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

const PROTECTION: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// A page of words, zero at first, that stays shared across fork (mmap(2), `MAP_SHARED` and
/// `MAP_ANONYMOUS`). It has no name, and is freed with the last process that maps it.
///
/// Another process may write to it at any time: treat each word as untrusted input.
#[derive(Debug)]
pub struct SharedPage {
    words: NonNull<AtomicU32>,
    count: usize,
}

// SAFETY: the mapping belongs to this value alone within the process, and all access to it is
// atomic.
unsafe impl Send for SharedPage {}
// SAFETY: as above.
unsafe impl Sync for SharedPage {}

assert_impl_all!(SharedPage: Send, Sync);

impl SharedPage {
    /// Maps room for `count` words, rounded up to whole pages by the kernel.
    ///
    /// # Errors
    /// `ENOMEM`, or `EINVAL` for a count of zero; see mmap(2).
    pub fn new(count: usize) -> Result<Self, SystemError> {
        // SAFETY: the kernel chooses the address, so no memory in use is replaced.
        let mapped = unsafe {
            mmap_anonymous(core::ptr::null_mut(), len(count), PROTECTION, MapFlags::SHARED)
        };
        Self::mapped(mapped, count)
    }

    /// Maps `count` words of a new memfd (memfd_create(2), kernel 3.17), which another program can
    /// map with [`of_file`](Self::of_file) after an exec. The file is close-on-exec and sealed: it
    /// can neither shrink nor grow.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` and `ENOMEM`; `EINVAL` for a count of zero; `EFBIG` from `ftruncate` if
    /// `RLIMIT_FSIZE` is lower than the length.
    pub fn with_file(count: usize) -> Result<(Self, OwnedFd), SystemError> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Used if the kernel knows it (6.3), since some systems require it.
        let file = match memfd_create(NAME, flags | MemfdFlags::NOEXEC_SEAL) {
            Err(Errno::INVAL) => memfd_create(NAME, flags),
            other => other,
        };
        let file = above_stdio(file.map_err(SystemError::of("memfd_create"))?)?;
        let len = len(count) as u64;
        // Such an ftruncate would raise SIGXFSZ, which kills.
        let is_too_long = limits_of(FSIZE).is_some_and(|[soft, _]| len > soft);
        let extended = if is_too_long { Err(Errno::FBIG) } else { ftruncate(&file, len) };
        extended.map_err(SystemError::of("ftruncate"))?;
        let seals = SEALS | SealFlags::SEAL;
        fcntl_add_seals(&file, seals).map_err(SystemError::of("fcntl F_ADD_SEALS"))?;
        Ok((Self::of_file(file.as_fd(), count)?, file))
    }

    /// Maps the first `count` words of a file that [`with_file`](Self::with_file) created, in this
    /// process or another.
    ///
    /// # Errors
    /// `EINVAL` from `fcntl F_GET_SEALS` if it is not a memfd; `EPERM` if it is not sealed against
    /// shrinking, which would kill every process that maps it (`SIGBUS`); `EINVAL` from `fstat` if
    /// it is too short; `ENOMEM`.
    pub fn of_file(file: BorrowedFd<'_>, count: usize) -> Result<Self, SystemError> {
        if bytes_of(file)? < len(count) as u64 {
            return Err(SystemError::of("fstat")(Errno::INVAL));
        }
        // SAFETY: the kernel chooses the address, so no memory in use is replaced; the file is
        // sealed against shrinking, so the mapping stays backed.
        let mapped = unsafe {
            mmap(core::ptr::null_mut(), len(count), PROTECTION, MapFlags::SHARED, file, 0)
        };
        Self::mapped(mapped, count)
    }

    /// Maps all of a file, as [`of_file`](Self::of_file) does.
    ///
    /// # Errors
    /// As [`of_file`](Self::of_file); also `EINVAL` if the file is empty.
    pub fn of_whole_file(file: BorrowedFd<'_>) -> Result<Self, SystemError> {
        let count = bytes_of(file)? / size_of::<u32>() as u64;
        Self::of_file(file, usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn mapped(start: Result<*mut c_void, Errno>, count: usize) -> Result<Self, SystemError> {
        let words = start.and_then(|start| NonNull::new(start.cast()).ok_or(Errno::NOMEM));
        Ok(Self { words: words.map_err(SystemError::of("mmap"))?, count })
    }

    /// Returns the words.
    #[inline]
    pub const fn words(&self) -> &[AtomicU32] {
        // SAFETY: `count` words are mapped there, aligned to a page; `len` limits them to
        // `isize::MAX` bytes; the mapping lives as long as `self`, and atomics may change under
        // other processes.
        unsafe { core::slice::from_raw_parts(self.words.as_ptr(), self.count) }
    }
}

impl Drop for SharedPage {
    #[inline(never)]
    fn drop(&mut self) {
        // SAFETY: this is the whole mapping, and every borrow of it has ended.
        _ = unsafe { rustix::mm::munmap(self.words.as_ptr().cast(), len(self.count)) };
    }
}

/// The bytes of `count` words. If a slice cannot be that long, more than mmap allows.
fn len(count: usize) -> usize {
    Layout::array::<AtomicU32>(count).map_or(usize::MAX, |layout| layout.size())
}

/// The length in bytes of a file that is sealed against shrinking.
fn bytes_of(file: BorrowedFd<'_>) -> Result<u64, SystemError> {
    let seals = fcntl_get_seals(file).map_err(SystemError::of("fcntl F_GET_SEALS"))?;
    if !seals.contains(SEALS) {
        return Err(SystemError::of("fcntl F_GET_SEALS")(Errno::PERM));
    }
    let stat = fstat(file).map_err(SystemError::of("fstat"))?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}
