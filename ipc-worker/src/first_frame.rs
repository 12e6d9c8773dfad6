//! The first frame of a worker: it is ready, or its set-up has failed at this stage.

use ipc_barrier::process::{Reason, Stage};
use ipc_frame::{BuildId, Header, Hello, Kind, Limits, MAX_FDS, Text};
use ipc_transport::Errno;

use crate::start_error::StartError;

/// What a worker of `bytes` bytes each way says of itself.
pub(crate) fn hello(bytes: usize) -> Hello {
    let payload_len = u32::try_from(bytes - Header::SIZE).unwrap_or(u32::MAX);
    Hello { limits: Limits { payload_len, fd_count: MAX_FDS }, build: BuildId::ANY }
}

/// A reason on the wire: the error number, the stage's number, the lengths of its name and of the
/// text, and these two.
pub(crate) const REASON: usize = 8 + Stage::NAME_LEN + Reason::TEXT_LEN;

/// Writes why a set-up has failed, and returns how many bytes that takes.
pub(crate) fn encode(reason: &Reason, space: &mut [u8; REASON]) -> usize {
    todo(reason, space)
}
