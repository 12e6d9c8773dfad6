//! Reading and writing that never waits, whatever mode a description has: the peer shares it and
//! may have changed it.

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut, ReadWriteFlags, preadv2, pwritev2};

use crate::lane::is_readable;

/// The offset that stands for the description's own (preadv2(2)).
const OWN: u64 = u64::MAX;

/// Reads what there is; `AGAIN` where there is nothing.
///
/// Where the kernel does not know how (pipes: 6.4) or a filter refuses, it looks first and then
/// reads: a peer that takes what was seen can make that wait.
pub(super) fn read(fd: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        let answer = preadv2(fd, &mut [IoSliceMut::new(buffer)], OWN, ReadWriteFlags::NOWAIT);
        let answer = match answer {
            Err(error) if !is_known(error) => match is_readable(fd.as_fd()) {
                Ok(true) => rustix::io::read(fd, &mut *buffer),
                Ok(false) => Err(Errno::AGAIN),
                // Not to be taken for nothing there: what is shown once is not shown again.
                Err(_) => Err(error),
            },
            known => known,
        };
        if answer != Err(Errno::INTR) {
            return answer;
        }
    }
}

/// Writes as far as there is room; `AGAIN` where there is none. Where it is not known how or
/// refused, the mode decides.
pub(super) fn write(fd: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        let answer = match pwritev2(fd, &[IoSlice::new(bytes)], OWN, ReadWriteFlags::NOWAIT) {
            Err(error) if !is_known(error) => rustix::io::write(fd, bytes),
            known => known,
        };
        if answer != Err(Errno::INTR) {
            return answer;
        }
    }
}

/// Whether it is an answer about the descriptor, and not about the call.
fn is_known(error: Errno) -> bool {
    !matches!(error, Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::INVAL)
}
