//! The law for transports that have a descriptor to watch.

use crate::contract::Transport;
use crate::fd::AsFd;
use crate::laws::bytes::bytes_at;
use crate::laws::tools::{await_end, in_time, patiently, settled};
use crate::waiting::{Instant, Interest, Watched, wait};

fn shows(end: &(impl Transport + AsFd)) -> bool {
    let mut watched = [Watched::new(end.as_fd(), Interest::Input)];
    end.holds_input() || wait(&mut watched, Some(Instant::PAST)).unwrap()
}

/// Whenever a receive would return bytes or `Closed`, the descriptor polls readable, or
/// [`holds_input`](crate::Transport::holds_input) returns true.
///
/// Not part of [`laws!`](crate::laws!), since not every transport has a descriptor. Call it in your
/// own test. It checks the second of the two ends.
pub fn what_would_be_received_shows<A: Transport, B: Transport + AsFd>(pair: impl Fn() -> (A, B)) {
    let (mut left, mut right) = pair();
    let mut space = [0; 64];
    for part in 1..=space.len() {
        for len in [1, part, part + 1, 3 * part + 2] {
            let sent = bytes_at(0, len);
            let (mut rest, mut received) = (&sent[..], 0);
            while received < len {
                let shown = in_time(|| {
                    rest = &rest[settled(left.send(&[rest])).unwrap_or(0)..];
                    // Bytes may arrive at any time, so receive only what shows.
                    if shows(&right) { settled(right.receive(&mut space[..part])) } else { None }
                });
                received += shown.unwrap_or_else(|| {
                    let hidden = settled(right.receive(&mut space[..part]));
                    panic!("nothing showed in 20 seconds, and a receive returns {hidden:?}")
                });
            }
        }
    }
    drop(left);
    patiently(|| shows(&right).then_some(()));
    await_end(|| right.receive(&mut space));
    assert!(shows(&right), "the descriptor must be readable at the end");
}
