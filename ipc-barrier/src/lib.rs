//! `fork`, and a barrier that synchronises parent and child after it. For Linux.
//!
//! The parent waits until the child is set up, or learns at which step and why the set-up failed:
//!
//! ```
//! use core::time::Duration;
//! use ipc_barrier::{Barrier, Ended, Fork, Instant, exit, fork};
//!
//! # fn set_up() -> Result<(), std::io::Error> { Ok(()) }
//! let barrier = Barrier::new()?;
//! match fork()? {
//!     Fork::Child(_guard) => {
//!         let mut end = barrier.into_child();
//!         if let Err(error) = set_up() {
//!             end.fail("set up", &error, ""); // the parent reads stage, errno and text
//!             exit(1);
//!         }
//!         exit(end.place().is_err().into()); // a real child continues after `place`
//!     }
//!     Fork::Parent(mut child) => {
//!         let deadline = Instant::now() + Duration::from_secs(5);
//!         let mut end = barrier.into_parent().watching(&child)?;
//!         end.place_and_sync_until(deadline)?; // an error has the child's stage and errno
//!         assert_eq!(child.wait(), Ended::Exited(0));
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//!            Barrier::new()
//!                  │
//!               fork()
//!        ┌─────────┴─────────┐
//!   into_parent()       into_child()      each side: place, sync, abort, fail
//!     ParentEnd ◀───────▶ ChildEnd        each side notices when the other exits
//! ```
//!
//! Each side *places* tokens, and *syncs* to wait until the other side has answered each of them
//! with a token. A side that aborts, fails with a [`Reason`], exits or is killed releases the other
//! at once. No call of the barrier allocates, locks or panics, so all are safe between fork and
//! exec. (`fail` formats an error that has no errno, which may allocate.)
//!
//! The module [`process`] has fork, spawn and wait. The items that a program with a barrier needs
//! are re-exported here, and so is the clock of ipc-transport.
//!
//! # Features
//!
//! | feature | default | adds | pulls in |
//! |---|---|---|---|
//! | `std` | yes | `libc`; reasons from `std::io::Error`; std's descriptor types | `std` |
//! | `libc` | by `std` | the safe `fork`; `posix_spawn` inside [`process::Setup::spawn`] | `libc` |
//!
//! Without `libc` only the unsafe [`fork_raw`] remains. The crate is always `no_std`.

#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

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
/// Descriptor types: `OwnedFd`, `BorrowedFd`, `AsFd` and others. With `std` these are std's types.
pub use rustix::fd;
