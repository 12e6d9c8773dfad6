//! fork, and a barrier at which parent and child meet after it.
//!
//! ```text
//!            Barrier::new()
//!                  │
//!               fork()
//!        ┌─────────┴─────────┐
//!   into_parent()       into_child()      each side: place, sync, abort, fail
//!     ParentEnd ◀───────▶ ChildEnd        a side that exits is noticed
//! ```
//!
//! Each side *places* tokens and *syncs* to wait until the other has placed as many. A side that
//! aborts, fails with a [`Reason`], exits or is killed releases the other at once. Nothing here
//! allocates, locks or panics, so every call is safe between fork and exec.
//!
//! ```no_run
//! use core::time::Duration;
//! use ipc_barrier::{Barrier, Fork, Instant, exit, fork};
//!
//! # fn set_up() -> Result<(), std::io::Error> { Ok(()) }
//! let deadline = Instant::now() + Duration::from_secs(5);
//! let barrier = Barrier::new()?;
//! match fork()? {
//!     Fork::Child(_guard) => {
//!         let mut end = barrier.into_child();
//!         if let Err(error) = set_up() {
//!             end.fail("set up", &error, "");
//!             exit(1);
//!         }
//!         exit(end.place().is_err().into());
//!     }
//!     Fork::Parent(child) => {
//!         let mut end = barrier.into_parent().watching(&child)?;
//!         end.place_and_sync_until(deadline)?; // says at which stage the child failed, and why
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The module [`process`] has all that concerns processes; what a program with a barrier needs of
//! it, and of the clock, is re-exported here.

#![no_std]

#[cfg(any(feature = "std", test))]
extern crate std;

mod meeting;
pub mod process;

pub use ipc_transport::{Errno, Instant, SystemError};
pub use meeting::{
    Barrier, ChildEnd, ChildSide, End, Eventfd, ExecError, Exported, Guarded, Lane, MeetError,
    Missing, Page, ParentEnd, ParentSide, PeerAbort, Role, Unmet, place_all, sync_all,
    sync_all_until,
};
#[cfg(feature = "libc")]
pub use process::fork;
pub use process::{Child, Ended, Fork, ForkError, Guard, Reason, exit, fork_raw};
/// Descriptors: `OwnedFd`, `BorrowedFd`, `AsFd` and the others, which with `std` are std's types.
pub use rustix::fd;
