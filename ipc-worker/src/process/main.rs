//! Main's side of a worker. The files beside this one implement its life.

use super::launch::Launch;
use super::state::Life;
use crate::caller::Caller;

/// What main holds for a worker.
pub(crate) struct Main<Tag, L: Launch, const SLOTS: usize, const BYTES: usize> {
    pub(crate) launch: L,
    pub(crate) life: Life,
    /// Main's end of what carries the current process's frames.
    pub(crate) medium: L::Medium,
    pub(crate) caller: Caller<Tag, SLOTS, BYTES>,
}
