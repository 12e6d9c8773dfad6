//! How a new process comes to serve.

use ipc_barrier::process::Child;
use ipc_transport::{Patience, SharedPage, Stream};

use crate::caller::Caller;
use crate::start_error::StartError;

/// What a new process is given.
pub struct Given<'a> {
    /// Its end of the stream.
    pub(crate) stream: Stream,
    /// The words that it shares with main.
    pub(crate) page: &'a SharedPage,
    pub(crate) patience: Patience,
}

/// Makes the process of a launch.
pub trait Spawn {
    /// Makes a process that will send its first frame over the stream. The caller is lent for its
    /// buffers, which a forked process uses again.
    fn spawn<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        given: Given<'_>,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
    ) -> Result<Child, StartError>;
}
