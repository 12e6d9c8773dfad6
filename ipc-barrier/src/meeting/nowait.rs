//! Reading and writing that never waits, whatever the file's mode: the peer shares the mode and may
//! have changed it.

use ipc_transport::{Instant, Interest, Watched, wait};
use rustix::fd::AsFd;
use rustix::io::{Errno, IoSlice, IoSliceMut, ReadWriteFlags, preadv2, pwritev2, retry_on_intr};

use super::held::Held;
use super::lane::LaneError;

/// The offset that means the file's own position (preadv2(2)).
const OWN: u64 = u64::MAX;

/// Reads what there is; `None` where there is nothing.
///
/// Where the kernel cannot (pipes: before 6.4) or a filter refuses, it polls first and then reads:
/// a peer that takes in between what was seen can make that wait.
pub(super) fn read(fd: &Held, buffer: &mut [u8]) -> Result<Option<usize>, LaneError> {
    tried(|| match preadv2(fd, &mut [IoSliceMut::new(buffer)], OWN, ReadWriteFlags::NOWAIT) {
        Err(error) if !is_known(error) => {
            let mut watched = [Watched::new(fd.as_fd(), Interest::Input)];
            // A poll that fails must not be treated as empty: something may have been shown.
            let is_there = wait(&mut watched, Some(Instant::PAST)).map_err(|_| error)?;
            if is_there { rustix::io::read(fd, &mut *buffer) } else { Err(Errno::AGAIN) }
        }
        known => known,
    })
}

/// Writes as far as there is room; `None` where there is none. Where the kernel cannot or a filter
/// refuses, the file's mode decides.
pub(super) fn write(fd: &Held, bytes: &[u8]) -> Result<Option<usize>, LaneError> {
    tried(|| match pwritev2(fd, &[IoSlice::new(bytes)], OWN, ReadWriteFlags::NOWAIT) {
        Err(error) if !is_known(error) => rustix::io::write(fd, bytes),
        known => known,
    })
}

/// Makes a call, again after a signal; `None` where it would wait and the file's mode forbids it.
pub(super) fn tried(
    call: impl FnMut() -> Result<usize, Errno>,
) -> Result<Option<usize>, LaneError> {
    match retry_on_intr(call) {
        Ok(len) => Ok(Some(len)),
        Err(Errno::AGAIN) => Ok(None),
        Err(_) => Err(LaneError::Broken),
    }
}

/// Whether the error is about the descriptor, not about the call.
fn is_known(error: Errno) -> bool {
    !matches!(error, Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::INVAL)
}
