//! Calls that are retried until they succeed, and pseudo-random numbers that are the same in each
//! run.

use std::fmt::Debug;
use std::time::{Duration, Instant};
use std::vec;
use std::vec::Vec;

use ipc_frame::Header;

use crate::contract::{Moved, Transport, TransportError};
use crate::memory::faulty::Faults;

/// How long a law retries. Only a transport that hangs or loses bytes takes this long.
const LONGEST: Duration = Duration::from_secs(20);

/// After this many refusals in a row a transport counts as full or empty, not as slow.
pub(super) const PATIENCE: usize = 60;

/// The bytes that a transport must hold for the laws of descriptors.
const ROOM: usize = 256;

/// Returns the result of a call. A shortage and an injected error count as "would block".
///
/// # Panics
/// On any other error.
pub fn settled<T>(answer: Moved<T>) -> Option<T> {
    match answer {
        Ok(answer) => answer,
        Err(Faults::ERROR | TransportError::Exhausted(_)) => None,
        Err(error) => panic!("{error}: {error:?}"),
    }
}

/// Returns whether the call reports the end.
///
/// # Panics
/// On any other error, unless it was injected.
pub fn is_closed<T>(answer: Moved<T>) -> bool {
    match answer {
        Err(TransportError::Closed) => true,
        answer => {
            settled(answer);
            false
        }
    }
}

/// Retries until the call returns `Some`, for 20 seconds.
pub(super) fn in_time<T>(mut call: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    let mut attempts = 0;
    loop {
        let answer = call();
        if answer.is_some() || start.elapsed() >= LONGEST {
            return answer;
        }
        attempts += 1;
        if attempts > 20 {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

/// Retries until the call returns `Some`.
///
/// # Panics
/// After 20 seconds.
pub fn patiently<T>(call: impl FnMut() -> Option<T>) -> T {
    in_time(call)
        .unwrap_or_else(|| panic!("nothing came in 20 seconds: bytes are lost, or a call hangs"))
}

/// Retries until the sending call takes bytes.
///
/// # Panics
/// After 20 seconds.
pub(super) fn taken(call: impl FnMut() -> Option<usize>) -> usize {
    in_time(call).unwrap_or_else(|| {
        panic!("no byte was taken in 20 seconds: this law needs room for {ROOM} bytes in flight")
    })
}

/// Sends all of the bytes.
pub fn send_all(to: &mut impl Transport, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        rest = &rest[taken(|| settled(to.send(&[rest])))..];
    }
}

/// Sends the parts, each by separate calls, until the transport is full. Returns how many bytes it
/// took.
pub(super) fn send_most<'a>(
    to: &mut impl Transport,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> usize {
    let mut sent = 0;
    for mut rest in parts {
        let mut refused = 0;
        while !rest.is_empty() {
            match settled(to.send(&[rest])) {
                Some(len) => (rest, sent, refused) = (&rest[len..], sent + len, 0),
                None if refused == PATIENCE => return sent,
                None => refused += 1,
            }
        }
    }
    sent
}

/// Receives exactly `len` bytes.
pub fn receive_exactly(from: &mut impl Transport, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        filled += patiently(|| settled(from.receive(&mut bytes[filled..])));
    }
    bytes
}

/// Waits for the end, and checks that nothing comes before or after it.
pub fn await_end<T: Debug>(mut receive: impl FnMut() -> Moved<T>) {
    let mut ended = || match receive() {
        Ok(Some(got)) => panic!("{got:?} instead of the end"),
        answer => is_closed(answer),
    };
    for _ in 0..5 {
        patiently(|| ended().then_some(()));
    }
}

/// A source of pseudo-random numbers that is the same in each run.
#[derive(Debug)]
pub struct Random(pub u32);

impl Random {
    /// Returns the next number.
    pub fn number(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// Returns the next number modulo `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number()).unwrap_or(0) % limit
    }
}

/// Returns the bytes of a request. The count and sequence of its descriptors may be wrong.
pub fn frame(id: u64, (fd_count, fd_sequence): (u16, u32), payload: &[u8]) -> Vec<u8> {
    let mut bytes = Header::request(1, id).encode().to_vec();
    bytes[..4].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
    bytes[16..18].copy_from_slice(&fd_count.to_le_bytes());
    bytes[20..24].copy_from_slice(&fd_sequence.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}
