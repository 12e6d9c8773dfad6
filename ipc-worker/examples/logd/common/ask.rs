//! What main asks of its worker. In which bytes, the program says.

use ipc_worker::{ReplyView, Why, Worker};

use super::ledger::{Name, Tag};
use super::line::Datagram;
use crate::program::{BYTES, SLOTS};

/// The worker, as main sees it.
pub(crate) type LogWorker<L> = Worker<Tag, L, SLOTS, BYTES>;

/// Requests, for `LogWorker` to implement. What is not taken has no outcome.
pub(crate) trait Ask {
    /// Appends a message. One that may have been written is not written again.
    fn append(&mut self, datagram: &Datagram<'_>, name: Name) -> Result<(), Why>;

    /// Tells of so many messages that were dropped, and of the last error for which one was. Returns
    /// whether that was taken.
    fn add_dropped(&mut self, count: u64, error: i32) -> bool;

    /// Says that everything is written. Returns whether that was taken.
    fn finish(&mut self) -> bool;

    /// Opens the log anew. Returns whether that was taken; there is no outcome.
    fn reopen(&mut self) -> bool;

    /// Reads the answer to [`append`](Self::append): zero, or the error for which the message was
    /// dropped. One without a meaning counts as a drop.
    fn dropped(reply: &ReplyView<'_>) -> i32;
}
