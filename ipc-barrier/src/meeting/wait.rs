//! Looking at the peer, and sleeping for it: a blocking read, or one poll and a read. Other reads and
//! writes never wait, whatever the file's mode: the peer shares the mode and may have changed it.

use heapless::Vec;
use ipc_transport::{Instant, Interest, SystemError, Watched, again_on_intr, wait};
use rustix::fd::AsFd;
use rustix::io::{
    Errno, IoSlice, IoSliceMut, ReadWriteFlags, preadv2, pwritev2, read, retry_on_intr,
};

use super::held::Held;
use super::lane::{Fault, Half, Mechanism, SOURCES};
use super::rules::GONE;

/// Rings that one read takes; an honest peer leaves at most three.
const RINGS: usize = 64;

/// Looks at the peer, and sleeps at most once for it, until a deadline: then it returns `None`.
/// Else it returns what was drained, perhaps nothing, for [`Rules`](super::rules::Rules).
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
    // A death is believed only after what was posted before it is taken.
    let taken = L::try_take(half)?;
    Ok(Some(if taken == 0 { shown } else { taken }))
}

/// Sleeps once, and leaves nothing in the bell that has been shown. Returns what it means if nothing
/// was posted: [`GONE`], or zero; `None` where the deadline has passed.
pub(crate) fn sleep<L: Mechanism>(half: &Half, deadline: Instant) -> Result<Option<u64>, Fault> {
    // Where the bell shows everything, a read does without a poll, which a sandbox may make fail.
    if half.pidfd.is_none() && !L::IS_COUNTER {
        if deadline == Instant::PAST {
            return read_bell::<L>(half, read_now);
        }
        if deadline == Instant::NEVER {
            // It does not wait where the peer has changed the mode that both share.
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
    // The first is the bell; its closing is the end.
    let is_over = watched.first().is_some_and(Watched::is_over);
    if is_over || watched.iter().skip(1).any(Watched::is_ready) {
        return Ok(Some(GONE));
    }
    // What the bell tells of an end behind the rings, the next look sees.
    read_bell::<L>(half, read_now)?;
    Ok(Some(0))
}

/// Reads all rings of the bell, so that it shows later posts only. Returns what this means if nothing
/// was posted: [`GONE`], or zero; `None` where nothing is to be read.
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

/// Polls the [sources](Half::sources) of some ends, of which there are at most `N`.
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

/// The offset that means the file's own position (preadv2(2)).
const OWN: u64 = u64::MAX;

/// Reads what there is; `None` where there is nothing.
///
/// Where the kernel cannot (pipes: before 6.4) or a filter refuses, it polls first and then reads:
/// a peer that takes in between what was seen can make that wait.
pub(super) fn read_now(fd: &Held, buffer: &mut [u8]) -> Result<Option<usize>, Fault> {
    tried(|| match preadv2(fd, &mut [IoSliceMut::new(buffer)], OWN, ReadWriteFlags::NOWAIT) {
        Err(error) if !is_known(error) => {
            let mut watched = [Watched::new(fd.as_fd(), Interest::Input)];
            // A poll that fails must not be treated as empty: something may have been shown.
            let is_there = wait(&mut watched, Some(Instant::PAST)).map_err(|_| error)?;
            if is_there { read(fd, &mut *buffer) } else { Err(Errno::AGAIN) }
        }
        known => known,
    })
}

/// Writes as far as there is room; `None` where there is none. Where the kernel cannot or a filter
/// refuses, the file's mode decides.
pub(super) fn write_now(fd: &Held, bytes: &[u8]) -> Result<Option<usize>, Fault> {
    tried(|| match pwritev2(fd, &[IoSlice::new(bytes)], OWN, ReadWriteFlags::NOWAIT) {
        Err(error) if !is_known(error) => rustix::io::write(fd, bytes),
        known => known,
    })
}

/// Makes a call that does not wait; `None` where it would have to.
pub(super) fn tried(call: impl FnMut() -> Result<usize, Errno>) -> Result<Option<usize>, Fault> {
    moved(again_on_intr(call))
}

/// What a call has moved; `None` where it would wait and the file's mode forbids it.
fn moved(result: Result<usize, Errno>) -> Result<Option<usize>, Fault> {
    match result {
        Ok(len) => Ok(Some(len)),
        Err(Errno::AGAIN) => Ok(None),
        Err(_) => Err(Fault::Broken),
    }
}

/// Whether the error is about the descriptor, not about the call.
fn is_known(error: Errno) -> bool {
    !matches!(error, Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::INVAL)
}
