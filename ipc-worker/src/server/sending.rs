//! Sending frames outside the queue, and retrying calls when the system is short of resources.

use core::time::Duration;

use ipc_frame::Header;
use ipc_transport::{Instant, TransportError};

/// How long the system may lack resources for a call, in main and in the worker, before the worker
/// is given up.
pub(crate) const SHORTAGE: Duration = Duration::from_secs(10);

/// How soon to retry.
const SOON: Duration = Duration::from_millis(1);

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// Main is gone, and all its requests are done.
    Finished,
    /// The handler could not settle a batch.
    NotSettled,
    /// The stream is out of sequence or broken.
    Broken,
}

/// The result of a send; see [`Transport::send`](ipc_transport::Transport::send).
pub(crate) type Sent = Result<Option<usize>, TransportError>;

/// Sends a frame outside the queue. No queued frame may be half sent.
pub(super) fn send(
    by: &mut dyn FnMut(&[&[u8]]) -> Sent,
    header: Header,
    payload: &[u8],
) -> Result<(), Served> {
    let len = u32::try_from(payload.len()).ok();
    let header = len.and_then(|len| header.encode_with(len, 0, 0).ok()).ok_or(Served::Broken)?;
    let (mut header, mut payload) = (&header[..], payload);
    let mut shortage = None;
    while !(header.is_empty() && payload.is_empty()) {
        match by(&[header, payload]) {
            Ok(Some(sent)) => {
                let of_payload = sent.saturating_sub(header.len());
                payload = payload.get(of_payload..).unwrap_or_default();
                header = header.get(sent..).unwrap_or_default();
            }
            Ok(None) | Err(TransportError::Exhausted(_)) => wait_out(&mut shortage)?,
            // As for a whole batch.
            Err(TransportError::Closed) => break,
            Err(_) => return Err(Served::Broken),
        }
    }
    Ok(())
}

/// Waits a moment while the system is short of resources, for a limited total time.
pub(super) fn wait_out(until: &mut Option<Instant>) -> Result<(), Served> {
    let now = Instant::now();
    if now > *until.get_or_insert(now + SHORTAGE) {
        return Err(Served::Broken);
    }
    pause();
    Ok(())
}

/// Waits a moment.
pub(super) fn pause() {
    _ = ipc_transport::wait(&mut [], Some(Instant::now() + SOON));
}
