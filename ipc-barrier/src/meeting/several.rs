//! One parent with several children: the calls that concern all of them.

use core::fmt;

use ipc_transport::Instant;

use super::end::ParentEnd;
use super::errors::{MeetError, Unmet};
use super::lane::{Lane, SOURCES};
use super::rules::Rules;
use super::wait::poll;

/// Children that are waited for at one time. Those after them have their turn as these are met.
const WINDOW: usize = 16;
/// Descriptors that are watched for them.
const WATCHED: usize = WINDOW * SOURCES;

/// Which child is missing, and why. Each end is as after a wait for it alone: those that were met
/// stay met, and after [`Unmet::TimedOut`] the call may be repeated for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// Its place in the slice.
    pub index: usize,
    /// What is known of it.
    pub why: MeetError,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "child {}: {}", self.index, self.why)
    }
}

impl core::error::Error for Missing {}

/// Places a token with each child, also after one that is missing. Never blocks.
///
/// # Errors
/// The first child that got no token, and why: [`MeetError::Ended`] or [`MeetError::Full`].
pub fn place_all<L: Lane>(ends: &mut [ParentEnd<L>]) -> Result<(), Missing> {
    let all = ends.iter_mut().enumerate();
    let placed = all.map(|(index, end)| end.place().map_err(|why| Missing { index, why }));
    placed.fold(Ok(()), Result::and)
}

/// Waits until every token of the parent has been answered by each of the children, as
/// [`End::sync`](crate::End::sync) does for one.
///
/// A child that aborts or is gone is noticed while others are waited for. Of more than 16 children,
/// those beyond the first 16 unmet are looked at when these are met.
///
/// The ends are the parent's, all on one lane:
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
    sync_all_until(ends, Instant::NEVER)
}

/// Waits as [`sync_all`], until a deadline.
///
/// # Errors
/// The child that is missing; of several that have not answered in time, the first.
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

/// Looks at one child, and arms it where it has not answered.
fn is_met<L: Lane>(end: &mut ParentEnd<L>, deadline: Instant) -> Result<bool, Unmet> {
    // A child that places without end always has news.
    while !end.try_sync()? {
        if end.arm() || deadline <= Instant::now() {
            return Ok(false);
        }
    }
    Ok(true)
}
