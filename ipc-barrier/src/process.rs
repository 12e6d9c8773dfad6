//! Processes: fork, exec, waiting for a child, and the reason why a set-up step failed.
//!
//! This module works without a barrier, and imports nothing from the rest of the crate.
//!
//! ```
//! use ipc_barrier::process::{Ended, Fork, exit, fork};
//!
//! match fork() {
//!     Ok(Fork::Child(_guard)) => exit(7),
//!     Ok(Fork::Parent(mut child)) => assert_eq!(child.wait(), Ended::Exited(7)),
//!     Err(error) => eprintln!("{error}"), // a second thread, or too few resources
//! }
//! ```

#[cfg(not(feature = "libc"))]
mod bare;
mod child;
mod closing;
#[doc(hidden)]
pub mod decimal;
mod fork;
#[cfg(feature = "libc")]
mod posix;
mod precedence;
mod program;
mod reason;
mod setup;
mod signals;
mod spawn;
mod stat;
mod steps;
#[cfg(feature = "libc")]
mod threads;

pub use child::{Child, Ended, pidfd_open};
pub use closing::{close_all_but, detach_all_but};
#[cfg(feature = "libc")]
pub use fork::fork;
pub use fork::{Fork, ForkError, Guard, exit, fork_raw};
pub use precedence::give_up_precedence;
pub use program::{Program, SpawnError};
pub(crate) use reason::REASON;
pub use reason::Reason;
/// Resources that can be limited (setrlimit(2)), and signals (signal(7)).
pub use rustix::process::{Resource, Signal};
pub use setup::{Instruction, Setup};
pub use signals::{BlockedSignals, block_signals, reset_signals};
