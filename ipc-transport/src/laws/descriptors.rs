//! The laws of [`PassFds`], one for each sentence of its contract.

use std::vec;
use std::vec::Vec;

use crate::contract::{FdList, PassFds, Received, TransportError};
use crate::fd::AsFd;
use crate::laws::bytes::bytes_at;
use crate::laws::probe::{
    List, Probe, id_of, is_kept_apart, many_descriptors, receive_with, send_with,
};
use crate::laws::tools::{patiently, receive_exactly, send_all, settled};

/// Descriptors travel with the first byte that their call sends, and the sender keeps its own.
pub fn descriptors_ride_on_the_first_byte_of_their_call<A: PassFds, B: PassFds>(
    pair: impl Fn() -> (A, B),
) {
    let (mut left, mut right) = pair();
    let (probe, mut space, mut fds) = (Probe::new(), [0; 16], List::new());
    send_all(&mut left, b"ab");
    let taken = send_with(&mut left, b"cdef", &[probe.own()]);
    for position in 0..2 + taken {
        let received = receive_with(&mut right, &mut space[..1], &mut fds);
        assert_eq!(received, Received { len: 1, fds_truncated: false });
        assert_eq!(fds.len(), usize::from(position >= 2), "at byte {position}");
    }
    assert_eq!(id_of(&fds[0]), probe.id(), "and the sender keeps its own");
    drop(fds);
    probe.expect_last();
}

/// A call sends all its descriptors, however few of its bytes were taken, and its count is exact.
pub fn all_go_however_few_bytes_were_taken<A: PassFds, B: PassFds>(pair: impl Fn() -> (A, B)) {
    let (mut left, mut right) = pair();
    let (probe, mut space, mut fds) = (Probe::new(), vec![0; 300_000], List::new());
    let bytes = bytes_at(0, 300_000);
    let taken = send_with(&mut left, &bytes, &[probe.own(), probe.own()]);
    assert!(taken > 0);
    receive_with(&mut right, &mut space[..1], &mut fds);
    assert_eq!((fds.len(), space[0]), (2, bytes[0]));
    let rest = receive_exactly(&mut right, taken - 1);
    assert!(rest == bytes[1..taken], "wrong bytes");
    // The rest of the bytes goes without descriptors.
    send_all(&mut left, b"abc");
    let received = receive_with(&mut right, &mut space, &mut fds);
    assert_eq!((fds.len(), received.fds_truncated), (2, false));
    assert_eq!(space[..received.len], b"abc"[..received.len], "the count is wrong");
}

/// `Ok(None)` from a full transport means that no descriptor was taken.
pub fn would_block_sends_no_descriptor<A: PassFds, B: PassFds>(pair: impl Fn() -> (A, B)) {
    let (mut left, mut right) = pair();
    let probe = Probe::new();
    let (mut sent, mut refused) = (0, 0);
    while refused < 60 {
        let answer = settled(left.send(&[&[5; 100]]));
        sent += answer.unwrap_or(0);
        assert!(sent < 1 << 26, "the transport has no limit");
        refused = if answer.is_some() { 0 } else { refused + 1 };
    }
    for _ in 0..20 {
        // A single byte may still fit; then it brings its descriptor.
        sent += settled(left.send_with(&[b"x"], &[probe.own().as_fd()])).unwrap_or(0);
    }
    let (mut space, mut fds, mut last) = (vec![0; 5_000], List::new(), Vec::new());
    while sent > 0 {
        let received = receive_with(&mut right, &mut space, &mut fds);
        sent -= received.len;
        last.extend_from_slice(&space[..received.len]);
    }
    let singles = last.iter().filter(|&&byte| byte == b'x').count();
    assert_eq!(fds.len(), singles, "one with each byte that was taken, and no others");
    drop(fds);
    probe.expect_last();
}

/// From 0 to 253 descriptors arrive in order, close-on-exec and above the standard streams. More
/// are refused, and nothing is sent.
pub fn from_none_to_253_arrive_in_order_and_closed_on_exec<A: PassFds, B: PassFds>(
    pair: impl Fn() -> (A, B),
) {
    let _turn = many_descriptors();
    let (mut left, mut right) = pair();
    let (first, other) = (Probe::new(), Probe::new());
    let (mut space, mut fds) = ([0; 16], List::new());
    for count in [0, 1, 2, 7, 252, 253] {
        let mut list = vec![first.own(); count];
        if let Some(last) = list.last_mut() {
            *last = other.own();
        }
        assert_eq!(send_with(&mut left, b"x", &list), 1);
        let received = receive_with(&mut right, &mut space, &mut fds);
        assert_eq!(received, Received { len: 1, fds_truncated: false });
        assert_eq!(fds.len(), count);
        assert!(fds.iter().all(is_kept_apart), "close-on-exec, and above 2");
        for (index, fd) in fds.iter().enumerate() {
            let expected = if index + 1 == count { &other } else { &first };
            assert_eq!(id_of(fd), expected.id(), "the order is kept");
        }
        fds.fds().clear();
    }
    let many = vec![first.own().as_fd(); 254];
    let refused = patiently(|| match left.send_with(&[b"x"], &many) {
        Err(TransportError::System(_) | TransportError::Exhausted(_)) => None,
        answer => answer.err(),
    });
    assert_eq!(refused, TransportError::TooManyFds { count: 254 });
    assert_eq!(settled(right.receive(&mut space)), None, "nothing was sent");
    first.expect_last();
    other.expect_last();
}

/// One receiving call returns the descriptors of at most one sending call, and no bytes from a
/// later call that carried descriptors.
pub fn one_call_gives_those_of_one_sending_call_and_no_later_byte<A: PassFds, B: PassFds>(
    pair: impl Fn() -> (A, B),
) {
    let (mut left, mut right) = pair();
    let probes = [Probe::new(), Probe::new(), Probe::new()];
    let (mut ends, mut position) = (Vec::new(), 0);
    for probe in &probes {
        send_all(&mut left, b"..");
        position += 2 + send_with(&mut left, b"with", &[probe.own()]);
        ends.push(position);
    }
    let (mut space, mut arrived, mut ids) = ([0; 200], 0, Vec::new());
    while arrived < position {
        let mut fds = List::new();
        let received = receive_with(&mut right, &mut space, &mut fds);
        arrived += received.len;
        assert!(fds.len() < 2, "descriptors of more than one call");
        if let Some(fd) = fds.first() {
            assert!(arrived <= ends[ids.len()], "no byte after those that brought them");
            ids.push(id_of(fd));
        }
    }
    assert_eq!(ids, probes.each_ref().map(Probe::id));
}

/// Plain [`receive`](crate::Transport::receive) closes the descriptors that come with its bytes.
pub fn plain_receiving_drops_descriptors<A: PassFds, B: PassFds>(pair: impl Fn() -> (A, B)) {
    let (mut left, mut right) = pair();
    let probe = Probe::new();
    for _ in 0..10 {
        let taken = send_with(&mut left, b"with", &[probe.own(); 40]);
        receive_exactly(&mut right, taken);
    }
    send_all(&mut left, b"more");
    let mut fds = List::new();
    receive_with(&mut right, &mut [0; 8], &mut fds);
    assert!(fds.is_empty());
    probe.expect_last();
}

/// Descriptors that do not fit in the list are closed, and `fds_truncated` is set.
pub fn what_the_list_cannot_hold_is_closed_and_told<A: PassFds, B: PassFds>(
    pair: impl Fn() -> (A, B),
) {
    let (mut left, mut right) = pair();
    let probe = Probe::new();
    send_with(&mut left, b"x", &[probe.own(); 5]);
    let mut fds = FdList::<2>::new();
    let received = patiently(|| settled(right.receive_with(&mut [0; 4], &mut fds.fds())));
    assert_eq!((received.fds_truncated, fds.len()), (true, 2));
    drop(fds);
    probe.expect_last();
}

/// Descriptors that were never received are closed with the connection, whichever end closes first.
pub fn descriptors_under_way_are_closed_with_the_connection<A: PassFds, B: PassFds>(
    pair: impl Fn() -> (A, B),
) {
    for receiver_first in [false, true] {
        let (one, other) = (Probe::new(), Probe::new());
        let (mut left, right) = pair();
        send_with(&mut left, b"under way", &[one.own(), other.own()]);
        if receiver_first {
            drop(right);
            drop(left);
        } else {
            drop(left);
            drop(right);
        }
        one.expect_last();
        other.expect_last();
    }
}
