//! The laws of [`Transport`], in the words of its contract.

use std::time::Duration;

use ipc_tests::forked::soon;
use ipc_tests::storm::Storm;
use ipc_transport::{Instant, Transport, TransportError};

/// As many refusals one after the other mean that a transport is full or empty, and not that it
/// is slow.
const PATIENCE: usize = 60;

/// The answer of a call; a failure of which nothing was taken counts as none.
pub(crate) fn settled<T>(answer: Result<Option<T>, TransportError>) -> Option<T> {
    match answer {
        Ok(answer) => answer,
        Err(TransportError::System(error)) if error.call == "faulty" => None,
        Err(error) => panic!("{error}"),
    }
}

/// Whether the end was told; other failures are passed over.
pub(crate) fn is_closed<T>(answer: Result<Option<T>, TransportError>) -> bool {
    answer.map(|_| ()) == Err(TransportError::Closed)
}

/// Calls again until there is an answer or only a hang can be the reason.
pub(crate) fn patiently<T>(mut call: impl FnMut() -> Option<T>) -> T {
    let deadline = soon();
    for attempt in 0.. {
        if let Some(answer) = call() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no answer");
        if attempt > 20 {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    unreachable!()
}

pub(crate) fn send_all(to: &mut impl Transport, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        rest = &rest[patiently(|| settled(to.send(&[rest])))..];
    }
}

pub(crate) fn receive_exactly(from: &mut impl Transport, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        filled += patiently(|| settled(from.receive(&mut bytes[filled..])));
    }
    bytes
}

/// The byte at a place of the test's stream; it has no short period.
fn byte_at(position: usize) -> u8 {
    let mixed = position.wrapping_mul(0x9e37_79b9).wrapping_add(position >> 7);
    mixed.to_le_bytes()[2]
}

fn bytes_at(position: usize, len: usize) -> Vec<u8> {
    (position..position + len).map(byte_at).collect()
}

/// A source of numbers that is the same in each run.
pub(crate) struct Random(pub(crate) u32);

impl Random {
    pub(crate) fn number(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number()).unwrap() % limit
    }
}

/// How far the two directions of a pair have come.
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
        assert!(space[..count] == expected, "other bytes at {}", self.arrived[way]);
        self.arrived[way] += count;
        assert!(self.arrived[way] <= self.sent[way], "more than was sent");
        Some(count)
    }

    /// Sends until the transport takes no more.
    fn fill(&mut self, way: usize) {
        let mut refused = 0;
        while refused < PATIENCE {
            refused = if self.send(way, 3_000).is_some() { 0 } else { refused + 1 };
            assert!(self.sent[way] < 1 << 26, "it is never full");
        }
    }

    /// Receives all that was sent, and sees that there is nothing else.
    fn drain(&mut self, way: usize) {
        while self.arrived[way] < self.sent[way] {
            patiently(|| self.receive(way, 5_000));
        }
        for _ in 0..PATIENCE {
            assert_eq!(self.receive(way, 100), None, "nothing is there");
        }
    }
}

pub(crate) fn bytes_arrive_in_order_none_twice_none_missing<A: Transport, B: Transport>(
    pair: fn() -> (A, B),
) {
    let mut traffic = Traffic::between(pair());
    while traffic.sent.iter().any(|&sent| sent < 12_000) {
        for way in [0, 1] {
            let longest = [300, 9, 3_000][traffic.random.below(3)];
            traffic.send(way, longest);
            traffic.receive(way, longest.max(20));
        }
    }
    traffic.drain(0);
    traffic.drain(1);
}

pub(crate) fn a_count_is_from_one_to_what_was_offered<A: Transport, B: Transport>(
    pair: fn() -> (A, B),
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

pub(crate) fn nothing_offered_is_nothing_taken<A: Transport, B: Transport>(pair: fn() -> (A, B)) {
    let (mut left, mut right) = pair();
    let mut space = [0; 8];
    for _ in 0..PATIENCE {
        assert_eq!(settled(left.send(&[])), None);
        assert_eq!(settled(left.send(&[&[], &[]])), None);
        assert_eq!(settled(right.receive(&mut [])), None);
        assert_eq!(settled(right.receive(&mut space)), None, "nor does it arrive");
    }
    send_all(&mut left, b"abc");
    for _ in 0..PATIENCE {
        assert_eq!(settled(right.receive(&mut [])), None);
    }
    assert_eq!(receive_exactly(&mut right, 3), b"abc");
    drop(left);
    assert_eq!(settled(right.receive(&mut [])), None, "nor is it the end");
    assert_eq!(settled(right.send(&[])), None);
}

pub(crate) fn would_block_takes_nothing_and_leaves_all_as_it_was<A: Transport, B: Transport>(
    pair: fn() -> (A, B),
) {
    let mut traffic = Traffic::between(pair());
    for _ in 0..2 {
        traffic.fill(0);
        assert!(traffic.sent[0] > traffic.arrived[0]);
        traffic.drain(0);
    }
}

/// Whoever gives up a call that would block may make any other: no call needs to be finished.
pub(crate) fn after_would_block_anything_else_may_be_offered<A: Transport, B: Transport>(
    pair: fn() -> (A, B),
) {
    let mut traffic = Traffic::between(pair());
    traffic.fill(0);
    let refused = traffic.ends.0.send(&[&[0xee; 500]]);
    let taken = settled(refused).unwrap_or(0);
    let tail = vec![0xee; taken];
    while traffic.arrived[0] < traffic.sent[0] {
        // Exactly up to what the refused offer may have added.
        let rest = traffic.sent[0] - traffic.arrived[0];
        patiently(|| traffic.receive(0, rest.min(4_000)));
    }
    assert_eq!(receive_exactly(&mut traffic.ends.1, taken), tail);
    send_all(&mut traffic.ends.0, b"other");
    assert_eq!(receive_exactly(&mut traffic.ends.1, 5), b"other");
}

pub(crate) fn the_directions_are_apart<A: Transport, B: Transport>(pair: fn() -> (A, B)) {
    let mut traffic = Traffic::between(pair());
    traffic.fill(0);
    for _ in 0..50 {
        patiently(|| traffic.send(1, 20));
        patiently(|| traffic.receive(1, 20));
    }
    traffic.drain(1);
    traffic.drain(0);
}

pub(crate) fn the_last_words_come_before_the_end_and_the_end_is_for_ever<
    A: Transport,
    B: Transport,
>(
    pair: fn() -> (A, B),
) {
    for words in [&b""[..], b"last words", &[7; 900]] {
        let (mut left, mut right) = pair();
        send_all(&mut left, words);
        drop(left);
        assert_eq!(receive_exactly(&mut right, words.len()), words);
        for _ in 0..5 {
            patiently(|| is_closed(right.receive(&mut [0; 16])).then_some(()));
        }
        for _ in 0..50 {
            let answer = right.receive(&mut [0; 16]);
            assert!(is_closed(answer) || settled(answer).is_none(), "nothing more comes");
        }
    }
}

pub(crate) fn a_sender_told_of_the_end_still_receives_and_gets_no_signal<
    A: Transport,
    B: Transport,
>(
    pair: fn() -> (A, B),
) {
    super::pairs::sigpipe_kills();
    let (mut left, mut right) = pair();
    send_all(&mut left, b"last words");
    drop(left);
    // A transport with buffers on both sides may take a little at first.
    patiently(|| is_closed(right.send(&[b"too late"])).then_some(()));
    for _ in 0..20 {
        assert!(settled_or_closed(right.send(&[b"too late"])).is_none(), "for ever");
    }
    assert_eq!(receive_exactly(&mut right, 10), b"last words");
    patiently(|| is_closed(right.receive(&mut [0; 16])).then_some(()));
}

/// Not where the network gives up what is under way: TCP.
pub(crate) fn what_the_dead_left_unread_costs_no_last_words<A: Transport, B: Transport>(
    pair: fn() -> (A, B),
) {
    let (mut left, mut right) = pair();
    send_all(&mut right, b"never read");
    for word in [b"one", b"two", b"six"] {
        send_all(&mut left, word);
    }
    drop(left);
    assert_eq!(receive_exactly(&mut right, 9), b"onetwosix");
    for _ in 0..5 {
        patiently(|| is_closed(right.receive(&mut [0; 16])).then_some(()));
    }
}

fn settled_or_closed<T>(answer: Result<Option<T>, TransportError>) -> Option<T> {
    if let Err(TransportError::Closed) = answer { None } else { settled(answer) }
}

pub(crate) fn signals_are_not_seen<A: Transport, B: Transport>(pair: fn() -> (A, B)) {
    let _storm = Storm::begin(Duration::from_micros(60));
    bytes_arrive_in_order_none_twice_none_missing(pair);
    the_last_words_come_before_the_end_and_the_end_is_for_ever(pair);
}
