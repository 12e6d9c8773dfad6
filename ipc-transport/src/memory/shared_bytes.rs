//! Bytes that another process may change at any time: copied, never borrowed.

#![expect(unsafe_code, reason = "shared bytes go to the kernel as a raw pointer, never as a slice")]

use core::fmt;
use core::sync::atomic::AtomicU32;

use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;
use syscalls::{Sysno, syscall};

use super::copy;
use crate::contract::SystemError;

/// How often a call that a signal interrupted is retried.
const ATTEMPTS: usize = 10_000;

/// Bytes in memory that other processes may write at the same time.
///
/// They are copied out before they are read, or moved between the memory and a file by the kernel.
/// No method returns a slice, since its bytes could change while it exists.
#[derive(Clone, Copy)]
pub struct SharedBytes<'a> {
    words: &'a [AtomicU32],
    len: usize,
}

impl<'a> SharedBytes<'a> {
    /// Uses the first `len` bytes of the words, or all if there are fewer. A write may store the
    /// rest of the last word again, unchanged.
    pub fn new(words: &'a [AtomicU32], len: usize) -> Self {
        Self { words, len: len.min(size_of_val(words)) }
    }

    /// Returns how many bytes there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the length is zero.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes out, from byte `offset` on, as many as there are and fit in `space`. Returns
    /// how many.
    pub fn read_at(&self, offset: usize, space: &mut [u8]) -> usize {
        let len = space.len().min(self.len.saturating_sub(offset));
        copy::load(self.words, offset, space.get_mut(..len).unwrap_or_default())
    }

    /// Copies bytes in, from byte `offset` on, as many as fit. Returns how many.
    pub fn write_at(&self, offset: usize, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.len.saturating_sub(offset));
        copy::store(self.words, offset, bytes.get(..len).unwrap_or_default())
    }

    /// Writes all bytes to a file, at its file offset (write(2)). The kernel reads them in place;
    /// this process makes no copy. It blocks as write(2) does.
    ///
    /// # Errors
    /// As write(2). Some bytes may have been written.
    pub fn write_to(&self, fd: impl AsFd) -> Result<(), SystemError> {
        let done = self.transfer(Sysno::write, &fd).map_err(SystemError::of("write"))?;
        // The file takes no bytes, but write(2) reports no error.
        if done < self.len { Err(SystemError::of("write")(Errno::IO)) } else { Ok(()) }
    }

    /// Reads from a file, at its file offset, up to its end or until there is no more room
    /// (read(2)). Returns how many bytes were read. It blocks as read(2) does.
    ///
    /// # Errors
    /// As read(2). Some bytes may have been read.
    pub fn read_from(&self, fd: impl AsFd) -> Result<usize, SystemError> {
        self.transfer(Sysno::read, &fd).map_err(SystemError::of("read"))
    }

    /// Repeats the call until all bytes are moved or a call moves none.
    fn transfer(&self, call: Sysno, fd: &impl AsFd) -> Result<usize, Errno> {
        let start = self.words.as_ptr().cast_mut().cast::<u8>();
        let (mut done, mut attempts) = (0, 0);
        while done < self.len {
            let (at, rest) = (start.wrapping_add(done), self.len - done);
            // SAFETY: the kernel reads or writes `rest` bytes at `at`, which are within the words;
            // atomics may be written through a shared reference.
            match unsafe { syscall!(call, fd.as_fd().as_raw_fd(), at, rest) } {
                Ok(0) => break,
                Ok(len) => done += len.min(rest),
                Err(syscalls::Errno::EINTR) if attempts < ATTEMPTS => attempts += 1,
                Err(error) => return Err(Errno::from_raw_os_error(error.into_raw())),
            }
        }
        Ok(done)
    }
}

impl fmt::Debug for SharedBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBytes").field("len", &self.len).finish()
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Mode, OFlags, SeekFrom, open, seek};

    use super::*;

    #[test]
    fn what_lies_beyond_the_length_is_neither_read_nor_written() {
        let words: [AtomicU32; 4] = core::array::from_fn(|_| AtomicU32::new(u32::MAX));
        let bytes = SharedBytes::new(&words, 10);
        assert_eq!((bytes.write_at(7, b"abcdef"), bytes.write_at(11, b"x")), (3, 0));
        assert_eq!(bytes.write_at(usize::MAX, b"x"), 0);
        let (mut all, mut part) = ([0; 16], [0; 16]);
        assert_eq!(SharedBytes::new(&words, 99).read_at(0, &mut all), 16);
        assert_eq!(&all, b"\xff\xff\xff\xff\xff\xff\xffabc\xff\xff\xff\xff\xff\xff");
        assert_eq!((bytes.read_at(8, &mut part), &part[..3]), (2, &b"bc\0"[..]));
    }

    #[test]
    fn the_kernel_moves_bytes_to_a_file_and_back() {
        let words: [AtomicU32; 4] = core::array::from_fn(|_| AtomicU32::new(0));
        let bytes = SharedBytes::new(&words, 13);
        let file = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(rustix::io::write(&file, b"0123456789abcdef"), Ok(16));
        seek(&file, SeekFrom::Start(1)).unwrap();
        assert_eq!(bytes.read_from(&file), Ok(13));
        assert_eq!(bytes.read_from(&file), Ok(2), "up to the end");
        seek(&file, SeekFrom::Start(0)).unwrap();
        bytes.write_to(&file).unwrap();
        let mut written = [0; 20];
        seek(&file, SeekFrom::Start(0)).unwrap();
        assert_eq!(rustix::io::read(&file, &mut written), Ok(16));
        assert_eq!(&written[..16], b"ef3456789abcddef");
    }

    #[test]
    fn the_error_of_the_call_is_told() {
        let words = [AtomicU32::new(0)];
        let bytes = SharedBytes::new(&words, 4);
        let open = |path, flags| open(path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let full = open(c"/dev/full", OFlags::RDWR);
        assert_eq!(bytes.write_to(&full).unwrap_err().errno.0, Errno::NOSPC.raw_os_error());
        let read_only = open(c"/dev/null", OFlags::RDONLY);
        let error = bytes.write_to(&read_only).unwrap_err();
        assert_eq!((error.call, error.errno.0), ("write", Errno::BADF.raw_os_error()));
        let directory = open(c"/", OFlags::RDONLY);
        assert_eq!(bytes.read_from(&directory).unwrap_err().call, "read");
    }
}
