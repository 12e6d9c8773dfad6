//! How requests come to be run, as a type.

use ipc_transport::Instant;

use super::medium::Medium;
use super::state::{Policy, Process};
use crate::blocks::Lend;
use crate::caller::Caller;
use crate::refusal::Refusal;
use crate::start_error::StartError;

/// What a worker is started by: [`Fork`](crate::Fork), [`Exec`](crate::Exec) or
/// [`Inline`](crate::Inline). No other crate
/// can add one.
///
/// It is a type, so a program links only what it uses, and main's calls need not know the handler.
pub trait Launch: Sized {
    /// Descriptors that a start needs at a time.
    #[doc(hidden)]
    const DESCRIPTORS: usize;

    /// What carries its frames.
    #[doc(hidden)]
    type Medium: Medium;

    /// What its requests may be lent.
    #[doc(hidden)]
    type Blocks: Lend;

    #[doc(hidden)]
    fn blocks(&self) -> &Self::Blocks;

    #[doc(hidden)]
    fn blocks_mut(&mut self) -> &mut Self::Blocks;

    /// Makes a process that will send its first frame; or prepares to run requests in main. The
    /// caller is lent for its buffers, which a forked process uses again.
    #[doc(hidden)]
    fn begin<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        policy: &Policy,
        deadline: Instant,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
    ) -> Result<Option<Process>, StartError>;

    /// Runs what is queued in main.
    #[doc(hidden)]
    fn run<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        _caller: &mut Caller<Tag, SLOTS, BYTES>,
    ) -> Result<(), Refusal> {
        Ok(())
    }
}
