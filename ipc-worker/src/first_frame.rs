//! The first frame of a worker: it is ready, or its set-up failed at some stage.

use ipc_barrier::process::Reason;
use ipc_frame::{Header, Kind, Text};
use ipc_transport::{Errno, Outbox};

use crate::identity::{Identity, Served};
use crate::start_error::StartError;

/// The version of the protocol between main and a worker.
const VERSION: u32 = 1;

/// Queues the first frame of a worker that is ready: version, slots, bytes in each direction,
/// whether it uses the ring, and its identity: fingerprint, length of the build's name, that name,
/// and the service's name.
pub(crate) fn ready<const SLOTS: usize, const BYTES: usize>(
    outbox: &mut Outbox<BYTES, SLOTS>,
    identity: &Identity,
    uses_ring: bool,
) {
    let numbers = numbers(SLOTS, BYTES).map(u32::to_le_bytes);
    let uses_ring = [u8::from(uses_ring)];
    let Served { build, service, fingerprint } = &identity.served();
    let (build, service) = (build.as_str().as_bytes(), service.as_str().as_bytes());
    let build_len = [u8::try_from(build.len()).unwrap_or(0)];
    let fingerprint = fingerprint.to_le_bytes();
    let pieces = [numbers.as_flattened(), &uses_ring, &fingerprint, &build_len, build, service];
    // This is the first frame in a queue of at least 256 bytes, so it fits. So does the one below.
    _ = outbox.push(Header::ready(), &pieces);
}

/// Queues the first frame of a worker whose set-up failed: errno, the lengths of the stage's name
/// and of the text, then both.
pub(crate) fn failed<const SLOTS: usize, const BYTES: usize>(
    outbox: &mut Outbox<BYTES, SLOTS>,
    reason: &Reason,
) {
    let (stage, text) = (reason.stage.as_str(), reason.text.as_str());
    let lens = [stage.len(), text.len()].map(|len| u8::try_from(len).unwrap_or(0));
    let errno = reason.errno.0.to_le_bytes();
    let pieces = [&errno[..], &lens, stage.as_bytes(), text.as_bytes()];
    _ = outbox.push(Header::failed(), &pieces);
}

fn numbers(slots: usize, bytes: usize) -> [u32; 3] {
    let [slots, bytes] = [slots, bytes].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    [VERSION, slots, bytes]
}

/// Reads the first frame of a process, which may be any bytes. Returns whether the worker uses the
/// ring.
pub(crate) fn read(
    kind: Kind,
    payload: &[u8],
    [slots, bytes]: [usize; 2],
    expected: &'static Identity,
) -> Result<bool, StartError> {
    match kind {
        Kind::Ready => matches(payload, numbers(slots, bytes), expected),
        Kind::Failed => Err(decode(payload).map_or(StartError::Malformed, StartError::Failed)),
        _ => Err(StartError::Malformed),
    }
}

/// Compares the worker's fields with main's. The version comes first, because it defines the fields
/// after it.
fn matches(
    payload: &[u8],
    ours: [u32; 3],
    expected: &'static Identity,
) -> Result<bool, StartError> {
    let mut rest = payload;
    for (&what, &ours) in ["version", "slots", "bytes"].iter().zip(&ours) {
        let (theirs, after) = rest.split_first_chunk().ok_or(StartError::Malformed)?;
        let theirs = u32::from_le_bytes(*theirs);
        if theirs != ours {
            return Err(StartError::Mismatch { what, ours, theirs });
        }
        rest = after;
    }
    let (&[uses_ring @ (0 | 1)], rest) = rest.split_first_chunk().ok_or(StartError::Malformed)?
    else {
        return Err(StartError::Malformed);
    };
    check(served(rest).ok_or(StartError::Malformed)?, expected)?;
    Ok(uses_ring == 1)
}

/// Compares what the worker serves with what main expects, if it expects anything.
pub(crate) fn check(theirs: Served, expected: &'static Identity) -> Result<(), StartError> {
    if *expected == Identity::NONE || theirs == expected.served() {
        return Ok(());
    }
    Err(StartError::OtherService { ours: expected, theirs })
}

fn served(bytes: &[u8]) -> Option<Served> {
    let (fingerprint, rest) = bytes.split_first_chunk()?;
    let (&[build_len], rest) = rest.split_first_chunk()?;
    let (build, service) = rest.split_at_checked(build_len.into())?;
    let (build, service) = (Text::from_bytes(build), Text::from_bytes(service));
    let served = Served { build, service, fingerprint: u64::from_le_bytes(*fingerprint) };
    let len = served.build.as_str().len() + served.service.as_str().len();
    Some(served).filter(|_| len == rest.len())
}

fn decode(payload: &[u8]) -> Option<Reason> {
    let (errno, rest) = payload.split_first_chunk()?;
    let (&[stage_len, text_len], rest) = rest.split_first_chunk()?;
    let (stage, text) = rest.split_at_checked(stage_len.into())?;
    if text.len() != usize::from(text_len) {
        return None;
    }
    Some(Reason::of_bytes(stage, Errno(i32::from_le_bytes(*errno)), text))
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    type Queue = Outbox<256, 4>;

    /// Returns the payload of the frame that the closure queues.
    fn payload<const SLOTS: usize, const BYTES: usize>(
        queue: impl FnOnce(&mut Outbox<BYTES, SLOTS>),
    ) -> std::vec::Vec<u8> {
        let mut outbox = Outbox::new();
        queue(&mut outbox);
        outbox.frame(outbox.first().unwrap()).unwrap().payload().to_vec()
    }

    fn first(kind: Kind, payload: &[u8]) -> Result<bool, StartError> {
        read(kind, payload, [64, 4096], &Identity::NONE)
    }

    #[test]
    fn a_reason_survives_the_wire() {
        for stage in ["7", "a name of 20 letters"] {
            for text in ["", "pivot_root", "a text that is as long as a reason's may be: 48 b"] {
                let reason = Reason::new(stage, Errno(-7), text);
                let payload = payload(|queue: &mut Queue| failed(queue, &reason));
                let read = first(Kind::Failed, &payload);
                assert_eq!(read, Err(StartError::Failed(reason)));
            }
        }
    }

    #[test]
    fn a_reason_that_is_cut_or_too_long_is_malformed() {
        let reason = Reason::new("descriptors", Errno(9), "close_range");
        let payload = payload(|queue: &mut Queue| failed(queue, &reason));
        let longer = [&payload[..], &[0]].concat();
        for cut in (0..payload.len()).chain([longer.len()]) {
            assert_eq!(first(Kind::Failed, &longer[..cut]), Err(StartError::Malformed));
        }
    }

    fn ready_of<const SLOTS: usize, const BYTES: usize>() -> std::vec::Vec<u8> {
        payload(|outbox: &mut Outbox<BYTES, SLOTS>| ready(outbox, &Identity::NONE, false))
    }

    #[test]
    fn a_worker_that_is_ready_matches_main_or_says_in_what_it_does_not() {
        assert_eq!(first(Kind::Ready, &ready_of::<64, 4096>()), Ok(false));
        let mut unsure = ready_of::<64, 4096>();
        unsure[12] = 2;
        assert_eq!(first(Kind::Ready, &unsure), Err(StartError::Malformed));
        let other = |what, ours, theirs| Err(StartError::Mismatch { what, ours, theirs });
        assert_eq!(first(Kind::Ready, &ready_of::<63, 4096>()), other("slots", 64, 63));
        assert_eq!(first(Kind::Ready, &ready_of::<64, 8192>()), other("bytes", 4096, 8192));
        assert_eq!(first(Kind::Ready, &2_u32.to_le_bytes()), other("version", 1, 2));
        for len in [0, 3, 4, 11, 20] {
            let cut = &ready_of::<64, 4096>()[..len];
            assert_eq!(first(Kind::Ready, cut), Err(StartError::Malformed), "{len}");
        }
        let longer = [&ready_of::<64, 4096>()[..], &[b'x'; 2 * crate::identity::NAME]].concat();
        assert_eq!(first(Kind::Ready, &longer), Err(StartError::Malformed));
        assert_eq!(first(Kind::Reply, &[]), Err(StartError::Malformed));
    }

    #[test]
    fn a_mismatch_of_services_names_both_sides() {
        const DISK: Identity = Identity { build: "logd 1.2", service: "disk", fingerprint: 0xabc };
        const LONG: Identity = Identity { build: "a build's name that is over 32 bytes", ..DISK };
        const OTHERS: [Identity; 3] = [
            Identity { build: "logd 1.3", ..DISK },
            Identity { service: "disc", ..DISK },
            Identity { fingerprint: 0xabd, ..DISK },
        ];
        let frame = payload(|outbox: &mut Queue| ready(outbox, &DISK, true));
        let read = |frame: &[u8], expected| read(Kind::Ready, frame, [4, 256], expected);
        assert_eq!((read(&frame, &DISK), read(&frame, &Identity::NONE)), (Ok(true), Ok(true)));
        for other in &OTHERS {
            let said = read(&frame, other).unwrap_err().to_string();
            assert!(
                said.contains(&other.to_string()) && said.contains(&DISK.to_string()),
                "{said}"
            );
        }
        let frame = payload(|outbox: &mut Queue| ready(outbox, &LONG, false));
        assert_eq!(read(&frame, &LONG), Ok(false));
    }
}
