//! One parent with several children: calls over all their barriers.

use core::fmt;

use ipc_transport::Instant;

use super::end::ParentEnd;
use super::errors::{MeetError, Unmet};
use super::lane::{Lane, SOURCES};
use super::rules::Rules;
use super::wait::poll;

/// Children that one poll waits for. Later ones follow as these are met.
const WINDOW: usize = 16;
/// Most descriptors in one poll.
const WATCHED: usize = WINDOW * SOURCES;

/// Which child is missing, and why. Each end is in the same state as after a wait for it alone.
/// Waits that were met stay met. After [`Unmet::TimedOut`], repeat the call to wait for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// The child's index in the slice.
    pub index: usize,
    /// Why it is missing.
    pub why: MeetError,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "child {}: {}", self.index, self.why)
    }
}

impl core::error::Error for Missing {}

/// Places a token with each child, and continues after a failure. Never blocks.
///
/// # Errors
/// The first child that got no token: [`MeetError::Ended`] or [`MeetError::Full`].
pub fn place_all<L: Lane>(ends: &mut [ParentEnd<L>]) -> Result<(), Missing> {
    let all = ends.iter_mut().enumerate();
    let placed = all.map(|(index, end)| end.place().map_err(|why| Missing { index, why }));
    placed.fold(Ok(()), Result::and)
}

/// Waits until every child has answered all the parent's tokens, as [`End::sync`](crate::End::sync)
/// does for one child.
///
/// A child that aborts or dies is noticed while the call waits for others. With more than 16
/// children, the call watches 16 at a time, in order.
///
/// All ends must be the parent's, and on one lane:
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
/// The child that is missing. Sync again to wait for the rest.
pub fn sync_all<L: Lane>(ends: &mut [ParentEnd<L>]) -> Result<(), Missing> {
    sync_all_until(ends, Instant::NEVER)
}

/// Waits as [`sync_all`], until a deadline.
///
/// # Errors
/// The child that is missing. If several have not answered in time, the first of them.
pub fn sync_all_until<L: Lane>(
    ends: &mut [ParentEnd<L>],
    deadline: Instant,
) -> Result<(), Missing> {
    let missing = |index, why| Missing { index, why: MeetError::Unmet(why) };
    loop {
        let (mut first, mut unmet) = (None, 0);
        for (index, end) in ends.iter_mut().enumerate() {
            if unmet < WINDOW && !is_met(end, deadline).map_err(|why| missing(index, why))? {
                first = first.or(Some(index));
                unmet += 1;
            }
        }
        let Some(index) = first else { return Ok(()) };
        if deadline <= Instant::now() {
            return Err(missing(index, Unmet::TimedOut));
        }
        let unmet = ends.iter().filter(|end| end.rules.is_met(Rules::SYNC) == Ok(false));
        poll::<L, WATCHED>(unmet.take(WINDOW).map(|end| &end.half), deadline)
            .map_err(|error| missing(index, Unmet::System(error)))?;
    }
}

/// Checks one child, and arms its end if the child has not answered.
fn is_met<L: Lane>(end: &mut ParentEnd<L>, deadline: Instant) -> Result<bool, Unmet> {
    // The deadline also ends this for a child that places tokens without end.
    while !end.try_sync()? {
        if end.arm() || deadline <= Instant::now() {
            return Ok(false);
        }
    }
    Ok(true)
}
