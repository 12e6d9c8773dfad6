//! The state of each request, and the decisions about it: ids, shared words, blocks, the table,
//! fates, time limits, and the restart policy.
//!
//! This code is pure. It makes no system call, reads no clock and owns no buffer. Shared words and
//! the current time are arguments.

mod account;
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

pub(crate) use account::Account;
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
