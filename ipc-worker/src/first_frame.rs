//! The first frame of a worker: it is ready, or its set-up has failed at some stage.

use ipc_barrier::process::Reason;
use ipc_frame::{BuildId, Header, Hello, Kind, Limits, MAX_FDS};
use ipc_transport::Errno;

use crate::refusal::Refusal;
use crate::start_error::StartError;

/// Bytes of the longest reason on the wire.
pub(crate) const REASON: usize = HEAD + 20 + 48;
/// Bytes before the texts: the error's number, and the lengths of the stage's name and of the text.
const HEAD: usize = 6;

/// What a worker of `bytes` bytes each way says of itself.
pub(crate) fn hello(bytes: usize) -> Hello {
    let payload_len = u32::try_from(bytes - Header::SIZE).unwrap_or(u32::MAX);
    Hello { limits: Limits { payload_len, fd_count: MAX_FDS }, build: BuildId::ANY }
}

/// Why [`Handler::prepare`](crate::Handler::prepare) did not let the worker start.
pub(crate) fn refused(refusal: &Refusal) -> Reason {
    Reason::new("prepare", Errno(refusal.code), refusal.text.as_str())
}

/// Writes why a set-up has failed, and returns the bytes.
pub(crate) fn encode<'a>(reason: &Reason, space: &'a mut [u8; REASON]) -> &'a [u8] {
    let (stage, text) = (reason.stage.as_str(), reason.text.as_str());
    let lens = [stage.len(), text.len()].map(|len| u8::try_from(len).unwrap_or(0));
    let parts: [&[u8]; 4] =
        [&reason.errno.0.to_le_bytes(), &lens, stage.as_bytes(), text.as_bytes()];
    let mut len = 0;
    for (place, byte) in space.iter_mut().zip(parts.into_iter().flatten()) {
        *place = *byte;
        len += 1;
    }
    space.get(..len).unwrap_or_default()
}

/// Reads what a process has sent first, whatever that is.
pub(crate) fn read(kind: Kind, payload: &[u8], bytes: usize) -> Result<(), StartError> {
    match kind {
        Kind::Ready => {
            let (ours, theirs) = (hello(bytes), Hello::decode(payload));
            match theirs.and_then(|theirs| ours.agree(&theirs)) {
                Ok(agreed) if agreed == ours.limits => Ok(()),
                Ok(_) => Err(StartError::Malformed),
                Err(error) => Err(StartError::Mismatch(error)),
            }
        }
        Kind::Failed => match decode(payload) {
            Some(reason) => Err(StartError::Failed(reason)),
            None => Err(StartError::Malformed),
        },
        _ => Err(StartError::Malformed),
    }
}

fn decode(payload: &[u8]) -> Option<Reason> {
    let (head, rest) = payload.split_first_chunk::<HEAD>()?;
    let [a, b, c, d, stage_len, text_len] = *head;
    let errno = Errno(i32::from_le_bytes([a, b, c, d]));
    let (stage, text) = rest.split_at_checked(stage_len.into())?;
    if text.len() != usize::from(text_len) {
        return None;
    }
    let [stage, text] = [stage, text].map(core::str::from_utf8);
    Some(Reason::new(stage.ok()?, errno, text.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 4096;

    #[test]
    fn a_reason_survives_the_wire() {
        for stage in ["7", "a name of 20 letters"] {
            for text in ["", "pivot_root", "a text that is as long as a reason's may be: 48 b"] {
                let reason = Reason::new(stage, Errno(-7), text);
                let mut space = [0; REASON];
                let read = read(Kind::Failed, encode(&reason, &mut space), BYTES);
                assert_eq!(read, Err(StartError::Failed(reason)));
            }
        }
    }

    #[test]
    fn a_reason_that_is_cut_or_too_long_is_malformed() {
        let reason = Reason::new("descriptors", Errno(9), "close_range");
        let mut space = [0; REASON];
        let len = encode(&reason, &mut space).len();
        for cut in (0..len).chain([len + 1]) {
            assert_eq!(read(Kind::Failed, &space[..cut], BYTES), Err(StartError::Malformed));
        }
    }

    #[test]
    fn a_worker_that_is_ready_matches_main() {
        assert_eq!(read(Kind::Ready, &hello(BYTES).encode(), BYTES), Ok(()));
        let smaller = read(Kind::Ready, &hello(BYTES / 2).encode(), BYTES);
        assert_eq!(smaller, Err(StartError::Malformed));
        let error = read(Kind::Ready, &[9, 9], BYTES).unwrap_err();
        assert!(matches!(error, StartError::Mismatch(_)), "{error}");
        assert_eq!(read(Kind::Reply, &[], BYTES), Err(StartError::Malformed));
    }
}
