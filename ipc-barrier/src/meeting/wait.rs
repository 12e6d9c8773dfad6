//! Looking at the peer, and sleeping for it: a blocking read, or one poll and a read.

use heapless::Vec;
use ipc_transport::{Instant, Watched, wait};

use super::lane::{Broken, Half, Mechanism, SOURCES, Shown};
use super::rules::GONE;

/// Looks at the peer, and sleeps at most once for it, until a deadline: then it returns `None`.
/// Else it returns what was drained, perhaps nothing, for [`Rules`](super::rules::Rules).
pub(crate) fn look<L: Mechanism>(half: &Half, deadline: Instant) -> Result<Option<u64>, Broken> {
    if L::LOOKS_FREELY {
        let early = L::try_take(half)?;
        if early != 0 {
            return Ok(Some(early));
        }
    }
    if deadline != Instant::PAST && !L::arm(half)? {
        return Ok(Some(0));
    }
    match sleep::<L>(half, deadline)? {
        Shown::Nothing => Ok(None),
        Shown::Post => L::try_take(half).map(Some),
        // A death is believed only after what was posted before it is taken.
        Shown::End => L::try_take(half).map(|last| Some(if last == 0 { GONE } else { last })),
    }
}

/// Sleeps once, and leaves nothing in the bell that has been shown.
pub(crate) fn sleep<L: Mechanism>(half: &Half, deadline: Instant) -> Result<Shown, Broken> {
    if deadline == Instant::NEVER && half.pidfd.is_none() {
        if let Some(shown) = L::sleep(half)? {
            return Ok(shown);
        }
    }
    let mut watched: Vec<Watched<'_>, SOURCES> = Vec::new();
    half.watch::<L, SOURCES>(&mut watched);
    if !wait(&mut watched, Some(deadline)).map_err(|_| Broken)? {
        return Ok(Shown::Nothing);
    }
    if watched.iter().any(Watched::is_broken) {
        return Err(Broken);
    }
    // The first is the bell; its closing is the end.
    let is_over = watched.first().is_some_and(Watched::is_over);
    if is_over || watched.iter().skip(1).any(Watched::is_ready) {
        return Ok(Shown::End);
    }
    L::hush(half)?;
    Ok(Shown::Post)
}
