//! Processes: fork, the child and its end, and how a set-up step's failure is told.
//!
//! Here belongs what concerns one process and its child, whatever they do afterwards. It may not
//! know the barrier: nothing in this module imports from the rest of the crate.
//!
//! ```
//! use ipc_barrier::process::{Ended, Fork, exit, fork};
//!
//! match fork() {
//!     Ok(Fork::Child(_guard)) => exit(7),
//!     Ok(Fork::Parent(mut child)) => assert_eq!(child.wait(), Ended::Exited(7)),
//!     Err(error) => eprintln!("{error}"), // a second thread, or no resources
//! }
//! ```

mod child;
mod closing;
mod fork;
mod fork_error;
mod guard;
mod listed;
mod pidfd;
mod reason;
mod signals;
mod stage;
#[cfg(feature = "libc")]
mod threads;

pub use child::{Child, Ended, StillRunning};
pub use closing::close_all_but;
#[cfg(feature = "libc")]
pub use fork::fork;
pub use fork::{Fork, fork_raw};
pub use fork_error::ForkError;
pub use guard::{Guard, exit};
pub use pidfd::{AsPidfd, pidfd_open};
pub use reason::Reason;
pub(crate) use reason::TEXT;
pub use signals::reset_signals;
pub(crate) use stage::NAME;
pub use stage::Stage;
