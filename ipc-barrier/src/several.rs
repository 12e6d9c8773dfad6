//! One parent with several children: the calls that concern all of them.

use core::fmt;

use heapless::Vec;
use ipc_transport::{Instant, MAX_WATCHED, Watched, wait};

use crate::end::ParentEnd;
use crate::lane::{self, Lane, SOURCES, is_past};
use crate::unmet::Unmet;

/// Children that are waited for at one time. Those after them have their turn as these are met.
const WINDOW: usize = MAX_WATCHED / SOURCES;

/// Which child is missing, and why. The ends are as they are after a wait of their own: those that
/// were met stay met, and after [`Unmet::TimedOut`] one may wait again for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its place in the slice.
    pub index: usize,
    /// What is known of it.
    pub why: Unmet,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "child {}: {}", self.index, self.why)
    }
}

impl core::error::Error for Missing {}

/// Places a token with each child, with all of them also where one is missing. Never blocks.
///
/// # Errors
/// The first child that has no token: by an abortion that is already known, or, as
/// [`Unmet::TimedOut`], since as many are unread as fit.
pub fn place_all<L: Lane>(ends: &mut [ParentEnd<L>]) -> Result<(), Missing> {
    let mut first = Ok(());
    for (index, end) in ends.iter_mut().enumerate() {
        if let Err(why) = end.placed() {
            first = first.and(Err(Missing { index, why }));
        }
    }
    first
}

/// Waits until every token of the parent has been answered by each of the children, as
/// [`End::sync`](crate::End::sync) does for one.
///
/// A child that aborts or is gone is noticed while others are waited for; of more than 16
/// children those beyond the first 16 unmet are looked at when these are met.
///
/// The ends are the parent's, and all on one lane:
///
/// ```compile_fail,E0308
/// fn meet(ends: &mut [ipc_barrier::ChildEnd]) -> Result<(), ipc_barrier::Missing> {
///     ipc_barrier::sync_all(ends)
/// }
/// ```
///
/// ```
/// fn meet(ends: &mut [ipc_barrier::ParentEnd]) -> Result<(), ipc_barrier::Missing> {
///     ipc_barrier::sync_all(ends)
/// }
/// ```
///
/// ```compile_fail,E0308
/// use ipc_barrier::{Barrier, Eventfd, Page};
///
/// let mut ends = [
///     Barrier::<Page>::open()?.into_parent(),
///     Barrier::<Eventfd>::open()?.into_parent(),
/// ];
/// ipc_barrier::place_all(&mut ends)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```
/// use ipc_barrier::{Barrier, Eventfd, Page};
///
/// let mut ends = [
///     Barrier::<Eventfd>::open()?.into_parent(),
///     Barrier::<Eventfd>::open()?.into_parent(),
/// ];
/// ipc_barrier::place_all(&mut ends)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The child that is missing. The ends stay as they are: to sync again waits for the rest.
pub fn sync_all<L: Lane>(ends: &mut [ParentEnd<L>]) -> Result<(), Missing> {
    sync_each(ends, None)
}

/// Waits as [`sync_all`], to a deadline.
///
/// # Errors
/// The child that is missing; of several that have not answered in time, the first.
pub fn sync_all_until<L: Lane>(
    ends: &mut [ParentEnd<L>],
    deadline: Instant,
) -> Result<(), Missing> {
    sync_each(ends, Some(deadline))
}

/// Aborts with each child, as [`End::abort`](crate::End::abort) does with one. What a child was
/// told before, it was told; there is no error.
pub fn abort_all<L: Lane>(ends: &mut [ParentEnd<L>]) {
    for end in ends {
        end.abort();
    }
}

fn sync_each<L: Lane>(ends: &mut [ParentEnd<L>], deadline: Option<Instant>) -> Result<(), Missing> {
    // Those that were looked at and are not met, in order.
    let mut unmet: Vec<usize, WINDOW> = Vec::new();
    let mut next = 0;
    loop {
        while !unmet.is_full() && next < ends.len() {
            if !is_met(ends, next, deadline)? {
                _ = unmet.push(next);
            }
            next += 1;
        }
        let Some(&first) = unmet.first() else {
            return Ok(());
        };
        let Some(ready) = ready(ends, &unmet, deadline) else {
            return Err(broken(ends, first));
        };
        let before = unmet.len();
        for index in ready {
            if is_met(ends, index, deadline)? {
                unmet.retain(|&other| other != index);
            }
        }
        // A child that rings without end has always news.
        if is_past(deadline) && unmet.len() == before {
            return Err(Missing { index: first, why: Unmet::TimedOut });
        }
    }
}

/// Waits for news of the unmet and returns which of them have some; `None` where that fails.
fn ready<L: Lane>(
    ends: &[ParentEnd<L>],
    unmet: &[usize],
    deadline: Option<Instant>,
) -> Option<Vec<usize, WINDOW>> {
    let mut watched: Vec<Watched<'_>, MAX_WATCHED> = Vec::new();
    let mut owners: Vec<usize, MAX_WATCHED> = Vec::new();
    for &index in unmet {
        let end = ends.get(index)?;
        lane::watch::<L, MAX_WATCHED>(&end.half, end.pidfd(), &mut watched);
        // As many as there are places for.
        _ = owners.resize(watched.len(), index);
    }
    wait(&mut watched, deadline).ok()?;
    let mut ready = Vec::new();
    for (watched, &index) in watched.iter().zip(&owners) {
        if watched.is_ready() && ready.last() != Some(&index) {
            // At most once for each of the unmet.
            _ = ready.push(index);
        }
    }
    Some(ready)
}

/// Ends the barrier of a child that cannot be waited for, as a wait for it alone would.
fn broken<L: Lane>(ends: &mut [ParentEnd<L>], index: usize) -> Missing {
    if let Some(end) = ends.get_mut(index) {
        end.rules.broken();
    }
    Missing { index, why: Unmet::Aborted(None) }
}

/// Looks at one child, and arms it where it has not answered.
fn is_met<L: Lane>(
    ends: &mut [ParentEnd<L>],
    index: usize,
    deadline: Option<Instant>,
) -> Result<bool, Missing> {
    let Some(end) = ends.get_mut(index) else {
        return Ok(true);
    };
    loop {
        match end.try_sync() {
            Ok(true) => return Ok(true),
            // A child that places without end has always news.
            Ok(false) if end.arm() || is_past(deadline) => return Ok(false),
            Ok(false) => {}
            Err(why) => return Err(Missing { index, why }),
        }
    }
}
