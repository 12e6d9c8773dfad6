//! What is known of each request, and what follows from it: ids, the words that main and a worker
//! share, blocks, the table, fates, what runs too long, and the restart policy.
//!
//! Everything here is pure. It makes no system call, reads no clock and holds no buffer: shared
//! words and the present time come in as arguments.

mod arena;
mod atomic;
mod credit;
mod fate;
mod id;
#[cfg(test)]
#[cfg(loom)]
mod models;
mod overdue;
mod restart;
mod table;
mod words;

pub use arena::Block;
pub(crate) use arena::{Arena, Geometry, Hold, PAGE};
pub(crate) use credit::{Count, Credit, CreditWords};
pub use fate::{Again, How};
pub(crate) use fate::{Ending, UnderWay};
pub use id::RequestId;
pub use overdue::TimeLimit;
pub(crate) use overdue::{Overdue, Running};
pub use restart::Restart;
pub(crate) use restart::Supervisor;
pub(crate) use table::{Table, Told};
pub(crate) use words::{BrokenWord, Claim, Words};
