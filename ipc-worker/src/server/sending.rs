//! Frames past the queue, and waiting for what a call needs.

use core::time::Duration;

use ipc_frame::Header;
use ipc_transport::{Instant, TransportError};

/// How long the system may be short of what a call needs, in main and in the worker, before the
/// worker is given up.
pub(crate) const SHORTAGE: Duration = Duration::from_secs(10);

/// How soon to try again.
const SOON: Duration = Duration::from_millis(1);

/// How serving came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// Main is gone, and all that it had sent is done.
    Finished,
    /// The handler could not settle a batch.
    NotSettled,
    /// The stream is out of step or broken.
    Broken,
}

/// What a sending call answers; see [`Transport::send`](ipc_transport::Transport::send).
pub(crate) type Sent = Result<Option<usize>, TransportError>;

/// Sends a frame past the queue, none of whose frames is half sent.
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

/// Waits a moment for the system to have what it is short of, for a limited time in all.
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
