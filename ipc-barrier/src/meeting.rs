//! The barrier: two processes that wait for each other.
//!
//! This module holds the rules (pure), the lanes that carry tokens, the two ends and their waits,
//! the export across exec, and the calls for a parent with several children. It must not start, end
//! or reap a process. From the module `process` it uses reasons, and pidfds to watch.

mod atomic;
mod barrier;
mod end;
mod errors;
mod eventfd;
mod exec;
mod guarded;
mod held;
mod lane;
mod memory;
#[cfg(test)]
#[cfg(loom)]
mod models;
mod page;
mod rules;
mod several;
mod wait;
mod word;

pub use barrier::Barrier;
pub use end::{ChildEnd, ChildSide, End, ParentEnd, ParentSide, Role};
pub use errors::{MeetError, PeerAbort, Unmet};
pub use eventfd::Eventfd;
pub use exec::{ExecError, Exported};
pub use guarded::Guarded;
pub use lane::Lane;
pub use page::Page;
pub use several::{Missing, place_all, sync_all, sync_all_until};
