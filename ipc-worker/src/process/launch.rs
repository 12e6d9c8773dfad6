//! How requests are run, as a type.

use ipc_transport::Instant;

use super::medium::Medium;
use super::state::{Policy, Process};
use crate::blocks::Lend;
use crate::caller::Caller;
use crate::refusal::Refusal;
use crate::start_error::StartError;

/// How a worker is started: [`Fork`](crate::Fork), [`Exec`](crate::Exec) or
/// [`Inline`](crate::Inline). The trait is sealed.
///
/// The launch is a type, so a program links only what it uses, and main's calls do not depend on
/// the handler.
pub trait Launch: Sized {
    /// How many descriptors a start needs at once.
    #[doc(hidden)]
    const DESCRIPTORS: usize;

    /// What carries the frames.
    #[doc(hidden)]
    type Medium: Medium;

    /// Whether requests may be lent blocks.
    #[doc(hidden)]
    type Blocks: Lend;

    #[doc(hidden)]
    fn blocks(&self) -> &Self::Blocks;

    #[doc(hidden)]
    fn blocks_mut(&mut self) -> &mut Self::Blocks;

    /// Starts a process, which will send its first frame, or prepares to run requests in main. A
    /// forked process reuses the caller's buffers.
    #[doc(hidden)]
    fn begin<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        policy: &Policy,
        deadline: Instant,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
    ) -> Result<Option<Process>, StartError>;

    /// Runs the queued requests in main.
    #[doc(hidden)]
    fn run<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        _caller: &mut Caller<Tag, SLOTS, BYTES>,
    ) -> Result<(), Refusal> {
        Ok(())
    }
}
