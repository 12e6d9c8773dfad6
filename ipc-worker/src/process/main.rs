//! What main has of a worker, to which the files beside this one give its life.

use super::launch::Launch;
use super::state::Life;
use crate::caller::Caller;

/// What main holds of a worker.
pub(crate) struct Main<Tag, L: Launch, const SLOTS: usize, const BYTES: usize> {
    pub(crate) launch: L,
    pub(crate) life: Life,
    /// Main's end of what carries the frames of the process that there is.
    pub(crate) medium: L::Medium,
    pub(crate) caller: Caller<Tag, SLOTS, BYTES>,
}
