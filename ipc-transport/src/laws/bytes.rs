//! The laws of [`Transport`], one for each sentence of its contract.

use std::vec;
use std::vec::Vec;

use crate::contract::Transport;
use crate::laws::signals::{NoPipeSignal, Storm};
use crate::laws::sleeps::sleeps_during;
use crate::laws::tools::{
    PATIENCE, Random, await_end, is_closed, patiently, receive_exactly, send_most, settled,
};

/// More than a transport usually takes in one call.
const LARGE: usize = 1 << 19;

/// The byte at a position of the test's stream, which has no short period.
fn byte_at(position: usize) -> u8 {
    let mixed = position.wrapping_mul(0x9e37_79b9).wrapping_add(position >> 7);
    mixed.to_le_bytes()[2]
}

/// The bytes of the test's stream from a position on.
pub(super) fn bytes_at(position: usize, len: usize) -> Vec<u8> {
    (position..position + len).map(byte_at).collect()
}

/// A pair of ends, and how many bytes each direction has sent and received.
struct Traffic<A, B> {
    ends: (A, B),
    random: Random,
    sent: [usize; 2],
    arrived: [usize; 2],
}

impl<A: Transport, B: Transport> Traffic<A, B> {
    fn between(ends: (A, B)) -> Self {
        Self { ends, random: Random(0x2545_f491), sent: [0; 2], arrived: [0; 2] }
    }

    fn send(&mut self, way: usize, longest: usize) -> Option<usize> {
        let len = 1 + self.random.below(longest);
        self.offer(way, len)
    }

    /// Makes one call with `len` bytes.
    fn offer(&mut self, way: usize, len: usize) -> Option<usize> {
        let bytes = bytes_at(self.sent[way], len);
        let (first, second) = bytes.split_at(self.random.below(len));
        let pieces = [first, &[], second];
        let answer = if way == 0 { self.ends.0.send(&pieces) } else { self.ends.1.send(&pieces) };
        let taken = settled(answer)?;
        assert!(taken > 0 && taken <= len, "{taken} of {len}");
        self.sent[way] += taken;
        Some(taken)
    }

    fn receive(&mut self, way: usize, longest: usize) -> Option<usize> {
        let len = 1 + self.random.below(longest);
        let mut space = vec![0; len];
        let answer = if way == 0 {
            self.ends.1.receive(&mut space)
        } else {
            self.ends.0.receive(&mut space)
        };
        let count = settled(answer)?;
        assert!(count > 0 && count <= len, "{count} of {len}");
        let expected = bytes_at(self.arrived[way], count);
        assert!(space[..count] == expected, "wrong bytes at {}", self.arrived[way]);
        self.arrived[way] += count;
        assert!(self.arrived[way] <= self.sent[way], "more than was sent");
        Some(count)
    }

    /// Sends until the transport takes no more.
    fn fill(&mut self, way: usize) {
        let mut refused = 0;
        while refused < PATIENCE {
            refused = if self.send(way, 3_000).is_some() { 0 } else { refused + 1 };
            assert!(self.sent[way] < 1 << 26, "the transport is never full");
        }
    }

    /// Receives until `left` bytes are in flight.
    fn receive_all_but(&mut self, way: usize, left: usize) {
        while self.sent[way] - self.arrived[way] > left {
            patiently(|| self.receive(way, 5_000));
        }
    }

    /// Receives everything that was sent, and checks that nothing else comes.
    fn drain(&mut self, way: usize) {
        self.receive_all_but(way, 0);
        for _ in 0..PATIENCE {
            assert_eq!(self.receive(way, 100), None, "nothing is left");
        }
    }
}

/// Bytes arrive in the order in which they were sent, without loss or duplication.
pub fn bytes_arrive_in_order_none_twice_none_missing<A: Transport, B: Transport>(
    pair: impl Fn() -> (A, B),
) {
    let mut traffic = Traffic::between(pair());
    while traffic.sent.iter().any(|&sent| sent < 12_000) {
        // A transport that loses bytes comes to a stop.
        patiently(|| {
            let before = (traffic.sent, traffic.arrived);
            for way in [0, 1] {
                let longest = [300, 9, 3_000][traffic.random.below(3)];
                traffic.send(way, longest);
                traffic.receive(way, longest.max(20));
            }
            (before != (traffic.sent, traffic.arrived)).then_some(())
        });
    }
    traffic.drain(0);
    traffic.drain(1);
}

/// A count is at least 1, and at most the length that was offered.
pub fn a_count_is_from_one_to_what_was_offered<A: Transport, B: Transport>(
    pair: impl Fn() -> (A, B),
) {
    let mut traffic = Traffic::between(pair());
    for longest in [1, 2, 3, 24, 700, 60_000] {
        for _ in 0..5 {
            traffic.send(0, longest);
            traffic.receive(0, longest);
        }
        traffic.drain(0);
    }
}

/// A send that takes only some of the bytes returns exactly how many.
pub fn a_short_send_takes_what_it_counts<A: Transport, B: Transport>(pair: impl Fn() -> (A, B)) {
    let mut traffic = Traffic::between(pair());
    for before in [0, 1, 700, 60_000] {
        if before > 0 {
            traffic.offer(0, before);
        }
        // If the call takes everything, it is not short; if the transport is full, it takes
        // nothing.
        for _ in 0..16 {
            if traffic.offer(0, LARGE).is_some_and(|taken| taken < LARGE) {
                break;
            }
        }
        // If the count is wrong, it shows as soon as other bytes follow.
        traffic.receive_all_but(0, 1);
        patiently(|| traffic.send(0, 100));
        traffic.drain(0);
    }
}

/// A call with no bytes or no space changes nothing.
pub fn nothing_offered_is_nothing_taken<A: Transport, B: Transport>(pair: impl Fn() -> (A, B)) {
    let (mut left, mut right) = pair();
    let mut space = [0; 8];
    for _ in 0..PATIENCE {
        assert_eq!(settled(left.send(&[])), None);
        assert_eq!(settled(left.send(&[&[], &[]])), None);
        assert_eq!(settled(right.receive(&mut [])), None);
        assert_eq!(settled(right.receive(&mut space)), None, "nor does it arrive");
    }
    patiently(|| settled(left.send(&[b"a"])));
    for _ in 0..PATIENCE {
        assert_eq!(settled(right.receive(&mut [])), None);
    }
    assert_eq!(receive_exactly(&mut right, 1), b"a");
    drop(left);
    assert_eq!(settled(right.receive(&mut [])), None, "nor is it the end");
    assert_eq!(settled(right.send(&[])), None);
}

/// `Ok(None)` from a full transport means that nothing was taken.
pub fn would_block_takes_nothing_and_leaves_all_as_it_was<A: Transport, B: Transport>(
    pair: impl Fn() -> (A, B),
) {
    let mut traffic = Traffic::between(pair());
    for _ in 0..2 {
        traffic.fill(0);
        assert!(traffic.sent[0] > traffic.arrived[0]);
        traffic.drain(0);
    }
}

/// No call blocks, on an empty or a full transport. The law counts how often its thread sleeps, and
/// allows for a short wait now and then, such as for a lock.
pub fn no_call_blocks<A: Transport, B: Transport>(pair: impl Fn() -> (A, B)) {
    let mut traffic = Traffic::between(pair());
    let receives = || (0..PATIENCE).for_each(|_| assert_eq!(traffic.receive(0, 100), None));
    let slept = sleeps_during(receives);
    assert!(slept < PATIENCE / 2, "{slept} of {PATIENCE} receives from an empty transport slept");
    traffic.fill(0);
    let slept = sleeps_during(|| (0..PATIENCE).for_each(|_| _ = traffic.send(0, 3_000)));
    assert!(slept < PATIENCE / 2, "{slept} of {PATIENCE} sends to a full transport slept");
}

/// A call that would block may be abandoned: the next one may offer other bytes.
pub fn after_would_block_anything_else_may_be_offered<A: Transport, B: Transport>(
    pair: impl Fn() -> (A, B),
) {
    let mut traffic = Traffic::between(pair());
    traffic.fill(0);
    let refused = traffic.ends.0.send(&[&[0xee; 500]]);
    let taken = settled(refused).unwrap_or(0);
    let tail = vec![0xee; taken];
    while traffic.arrived[0] < traffic.sent[0] {
        // Receive exactly as far as the refused bytes could reach.
        let rest = traffic.sent[0] - traffic.arrived[0];
        patiently(|| traffic.receive(0, rest.min(4_000)));
    }
    assert_eq!(receive_exactly(&mut traffic.ends.1, taken), tail);
    for byte in b"other" {
        patiently(|| settled(traffic.ends.0.send(&[&[*byte]])));
        assert_eq!(receive_exactly(&mut traffic.ends.1, 1), [*byte]);
    }
}

/// A full direction does not block the other one.
pub fn the_directions_are_apart<A: Transport, B: Transport>(pair: impl Fn() -> (A, B)) {
    let mut traffic = Traffic::between(pair());
    traffic.fill(0);
    for _ in 0..50 {
        patiently(|| {
            traffic.receive(1, 20);
            traffic.send(1, 20)
        });
        patiently(|| traffic.receive(1, 20));
    }
    traffic.drain(1);
    traffic.drain(0);
}

/// Everything that a peer had sent is received. From then on every receive returns `Closed`, and no
/// other error.
pub fn the_last_words_come_before_the_end_and_the_end_is_for_ever<A: Transport, B: Transport>(
    pair: impl Fn() -> (A, B),
) {
    for words in [&b""[..], b"last words", &[7; 900]] {
        let (mut left, mut right) = pair();
        let sent = send_most(&mut left, [words]);
        drop(left);
        assert_eq!(receive_exactly(&mut right, sent), words[..sent]);
        await_end(|| right.receive(&mut [0; 16]));
    }
}

/// Sending to a peer that has ended fails with `Closed` and no other error, and raises no SIGPIPE.
/// Bytes from the peer are still received.
pub fn a_sender_told_of_the_end_still_receives_and_gets_no_signal<A: Transport, B: Transport>(
    pair: impl Fn() -> (A, B),
) {
    let signals = NoPipeSignal::watch();
    let (mut left, mut right) = pair();
    let sent = send_most(&mut left, [&b"last words"[..]]);
    drop(left);
    // A transport with buffers on both sides may take a little at first.
    patiently(|| is_closed(right.send(&[b"too late"])).then_some(()));
    for _ in 0..20 {
        let answer = right.send(&[b"too late"]);
        assert!(!matches!(answer, Ok(Some(_))), "{answer:?} after `Closed`");
        is_closed(answer);
    }
    assert_eq!(receive_exactly(&mut right, sent), b"last words"[..sent]);
    await_end(|| right.receive(&mut [0; 16]));
    signals.none_came();
}

/// Bytes from a peer are received even if it ended with unread bytes.
///
/// Not part of [`laws!`](crate::laws!), since a network may drop bytes in flight, as TCP does. Call
/// it in your own test if the transport stays within one machine.
pub fn what_the_dead_left_unread_costs_no_last_words<A: Transport, B: Transport>(
    pair: impl Fn() -> (A, B),
) {
    let (mut left, mut right) = pair();
    send_most(&mut right, [&b"never read"[..]]);
    let sent = send_most(&mut left, b"onetwosix".chunks(3));
    drop(left);
    assert_eq!(receive_exactly(&mut right, sent), b"onetwosix"[..sent]);
    await_end(|| right.receive(&mut [0; 16]));
}

/// A signal does not end a call. The law sends SIGURG to its own thread.
pub fn signals_are_not_seen<A: Transport, B: Transport>(pair: impl Fn() -> (A, B)) {
    let _storm = Storm::begin();
    bytes_arrive_in_order_none_twice_none_missing(&pair);
    the_last_words_come_before_the_end_and_the_end_is_for_ever(&pair);
}
