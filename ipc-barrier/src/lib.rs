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
//! use ipc_barrier::{Barrier, Fork, Stage, fork};
//! use ipc_transport::Instant;
//!
//! # fn set_up() -> Result<(), std::io::Error> { Ok(()) }
//! let deadline = Instant::now() + Duration::from_secs(5);
//! let barrier = Barrier::new()?;
//! match fork()? {
//!     Fork::Child(_guard) => {
//!         let mut end = barrier.into_child();
//!         if let Err(error) = set_up() {
//!             end.fail(Stage(1), error, "set up");
//!             ipc_barrier::exit(1);
//!         }
//!         end.place();
//!         ipc_barrier::exit(0);
//!     }
//!     Fork::Parent(child) => {
//!         let mut end = barrier.into_parent().watching(&child)?;
//!         end.place();
//!         end.sync_until(deadline)?; // says at which stage the child failed, and why
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]

#[cfg(any(feature = "std", test))]
extern crate std;

mod barrier;
mod child;
mod end;
mod exec;
mod fork;
mod lane;
mod memory;
mod reason;
mod role;
mod rules;
mod several;
#[cfg(feature = "libc")]
mod threads;
mod unmet;

pub use barrier::Barrier;
pub use child::{Child, Ended, StillRunning};
pub use end::{ChildEnd, End, ParentEnd};
pub use exec::{ExecError, Exported};
#[cfg(feature = "libc")]
pub use fork::fork;
pub use fork::{Fork, ForkError, Guard, exit, fork_raw};
pub use lane::{Eventfd, Lane, Page};
pub use reason::{Reason, Stage};
pub use role::{ChildSide, ParentSide, Role};
pub use several::{Missing, abort_all, place_all, sync_all, sync_all_until};
pub use unmet::Unmet;
