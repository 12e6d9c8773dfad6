//! Main's requests to its worker. The program defines their encoding.

use ipc_worker::{ReplyView, Why, Worker};

use super::ledger::{Name, Tag};
use super::line::Datagram;
use crate::program::{BYTES, SLOTS};

/// Main's side of the worker.
pub(crate) type LogWorker<L> = Worker<Tag, L, SLOTS, BYTES>;

/// The requests, which `LogWorker` implements. A request that is not accepted has no outcome.
pub(crate) trait Ask {
    /// Appends a message. It is not repeated if it may have been written.
    fn append(&mut self, datagram: &Datagram<'_>, name: Name) -> Result<(), Why>;

    /// Reports dropped messages, and the last error for which one was dropped. Returns whether the
    /// request was accepted.
    fn add_dropped(&mut self, count: u64, error: i32) -> bool;

    /// Reports that everything is written. Returns whether the request was accepted.
    fn finish(&mut self) -> bool;

    /// Reopens the log. Returns whether the request was accepted. It has no outcome.
    fn reopen(&mut self) -> bool;

    /// Decodes the answer to [`append`](Self::append): zero, or the error for which the message was
    /// dropped. An invalid answer counts as a drop.
    fn dropped(reply: &ReplyView<'_>) -> i32;
}
