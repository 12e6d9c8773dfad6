//! Looking at the peer, and sleeping until it acts: a blocking read, or one poll and a read. No
//! other read or write waits. They do not rely on the file's O_NONBLOCK, because the peer shares it
//! and may have changed it.

use heapless::Vec;
use ipc_transport::{Instant, Interest, SystemError, Watched, again_on_intr, wait};
use rustix::fd::AsFd;
use rustix::io::{
    Errno, IoSlice, IoSliceMut, ReadWriteFlags, preadv2, pwritev2, read, retry_on_intr,
};

use super::held::Held;
use super::lane::{Fault, Half, Mechanism, SOURCES};
use super::rules::GONE;

/// Most rings that one read takes. An honest peer leaves at most three.
const RINGS: usize = 64;

/// Looks at the peer, and sleeps at most once, until a deadline. Returns `None` after the deadline.
/// Otherwise returns the drained value, perhaps zero, for [`Rules`](super::rules::Rules).
pub(crate) fn look<L: Mechanism>(half: &Half, deadline: Instant) -> Result<Option<u64>, Fault> {
    let early = if L::IS_COUNTER { 0 } else { L::try_take(half)? };
    if early != 0 {
        return Ok(Some(early));
    }
    if deadline != Instant::PAST && !L::arm(half)? {
        return Ok(Some(0));
    }
    let Some(shown) = sleep::<L>(half, deadline)? else {
        return Ok(None);
    };
    // Take what was posted before the peer's death, before reporting the death.
    let taken = L::try_take(half)?;
    Ok(Some(if taken == 0 { shown } else { taken }))
}

/// Sleeps once, and reads all rings of the bell. If nothing was posted, the result is what the
/// sleep showed: [`GONE`] or zero. `None` if the deadline has passed.
pub(crate) fn sleep<L: Mechanism>(half: &Half, deadline: Instant) -> Result<Option<u64>, Fault> {
    // If the bell shows everything, a read suffices. A poll may fail in a sandbox.
    if half.pidfd.is_none() && !L::IS_COUNTER {
        if deadline == Instant::PAST {
            return read_bell::<L>(half, read_now);
        }
        if deadline == Instant::NEVER {
            // It does not wait if the peer has made the shared pipe non-blocking.
            let read = |fd: &Held, room: &mut [u8]| moved(retry_on_intr(|| read(fd, &mut *room)));
            if let Some(shown) = read_bell::<L>(half, read)? {
                return Ok(Some(shown));
            }
        }
    }
    let watched = poll::<L, SOURCES>([half].into_iter(), deadline).map_err(Fault::Wait)?;
    if !watched.iter().any(Watched::is_ready) {
        return Ok(None);
    }
    if watched.iter().any(Watched::is_broken) {
        return Err(Fault::Broken);
    }
    // The first is the bell. If it is closed, the peer is gone.
    let is_over = watched.first().is_some_and(Watched::is_over);
    if is_over || watched.iter().skip(1).any(Watched::is_ready) {
        return Ok(Some(GONE));
    }
    // If the bell closes behind the rings, the next look sees that.
    read_bell::<L>(half, read_now)?;
    Ok(Some(0))
}

/// Reads all rings of the bell, so that it shows only later posts. If nothing was posted, the
/// result is what the bell showed: [`GONE`] or zero. `None` if there was nothing to read.
#[inline]
pub(super) fn read_bell<L: Mechanism>(
    half: &Half,
    read: impl FnOnce(&Held, &mut [u8]) -> Result<Option<usize>, Fault>,
) -> Result<Option<u64>, Fault> {
    if L::IS_COUNTER {
        return Ok(None);
    }
    let rings = read(&half.incoming, &mut [0; RINGS])?;
    Ok(rings.map(|rings| if rings == 0 { GONE } else { 0 }))
}

/// Polls the [sources](Half::sources) of some ends, at most `N` descriptors.
pub(crate) fn poll<'half, L: Mechanism, const N: usize>(
    halves: impl Iterator<Item = &'half Half>,
    deadline: Instant,
) -> Result<Vec<Watched<'half>, N>, SystemError> {
    let mut watched = Vec::new();
    for half in halves {
        for (fd, interest) in half.sources::<L>() {
            _ = watched.push(Watched::new(fd.as_fd(), interest));
        }
    }
    wait(&mut watched, Some(deadline))?;
    Ok(watched)
}

/// The offset that means the file's current position: −1 (preadv2(2)).
const OWN: u64 = u64::MAX;

/// Reads what is there. `None` if there is nothing.
///
/// Before kernel 6.4 (for pipes), or if a filter refuses the call, it polls and then reads. A
/// hostile peer that empties the pipe in between can make that read wait.
pub(super) fn read_now(fd: &Held, buffer: &mut [u8]) -> Result<Option<usize>, Fault> {
    tried(|| match preadv2(fd, &mut [IoSliceMut::new(buffer)], OWN, ReadWriteFlags::NOWAIT) {
        Err(error) if !is_known(error) => {
            let mut watched = [Watched::new(fd.as_fd(), Interest::Input)];
            // A failed poll must not be treated as empty.
            let is_there = wait(&mut watched, Some(Instant::PAST)).map_err(|_| error)?;
            if is_there { read(fd, &mut *buffer) } else { Err(Errno::AGAIN) }
        }
        known => known,
    })
}

/// Writes as much as there is room for. `None` if there is no room. If the kernel lacks the flag or
/// a filter refuses the call, the write waits unless the file is non-blocking.
pub(super) fn write_now(fd: &Held, bytes: &[u8]) -> Result<Option<usize>, Fault> {
    tried(|| match pwritev2(fd, &[IoSlice::new(bytes)], OWN, ReadWriteFlags::NOWAIT) {
        Err(error) if !is_known(error) => rustix::io::write(fd, bytes),
        known => known,
    })
}

/// Makes a call that does not wait. `None` if it would have to.
pub(super) fn tried(call: impl FnMut() -> Result<usize, Errno>) -> Result<Option<usize>, Fault> {
    moved(again_on_intr(call))
}

/// How many bytes a call moved. `None` for `EAGAIN`.
fn moved(result: Result<usize, Errno>) -> Result<Option<usize>, Fault> {
    match result {
        Ok(len) => Ok(Some(len)),
        Err(Errno::AGAIN) => Ok(None),
        Err(_) => Err(Fault::Broken),
    }
}

/// Whether the error is about the descriptor, and does not mean that the call is unavailable.
fn is_known(error: Errno) -> bool {
    !matches!(error, Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::INVAL)
}
