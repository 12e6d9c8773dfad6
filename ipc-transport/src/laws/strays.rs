//! A peer that sends unexpected descriptors, and ends at any time.

use std::vec;

use crate::contract::PassFds;
use crate::fd::OwnedFd;
use crate::joining::inbox::Inbox;
use crate::joining::joiner::InboxError;
use crate::laws::hostile::noise;
use crate::laws::probe::{Probe, many_descriptors, receive, send_with};
use crate::laws::tools::{Random, await_end, frame, patiently, send_all, settled};

/// Sends all bytes, with the same descriptor `count` times on the first of them.
pub fn send_all_with(to: &mut impl PassFds, bytes: &[u8], own: &OwnedFd, count: usize) {
    let len = send_with(to, bytes, &vec![own; count]);
    send_all(to, &bytes[len..]);
}

/// Takes frames until `len` more bytes have arrived or an error comes. Returns how many frames had
/// all their descriptors.
fn take(inbox: &mut Inbox<256>, len: usize, from: &mut impl PassFds) -> Result<usize, InboxError> {
    let (mut left, mut whole) = (len, 0);
    loop {
        match inbox.advance() {
            Ok(Some(header)) => {
                let arrival = inbox.current();
                assert!(arrival.payload.len() <= 232);
                let expected = if arrival.fds_lost.is_none() { header.fd_count() } else { 0 };
                assert_eq!(
                    arrival.fds.iter().count(),
                    usize::from(expected),
                    "its own descriptors or none"
                );
                whole += usize::from(arrival.fds_lost.is_none());
            }
            Ok(None) if left == 0 => break Ok(whole),
            Ok(None) => left -= patiently(|| settled(receive(inbox, from))),
            Err(error) => break Err(error),
        }
    }
}

/// Sends a frame with its descriptor, and then noise with a random number of descriptors on each
/// call. Returns whether the noise was refused.
pub fn sends_random_bytes_and_descriptors<A: PassFds, B: PassFds>(
    (mut left, mut right): (A, B),
    random: &mut Random,
    own: &OwnedFd,
) -> bool {
    let mut inbox = Inbox::<256>::new();
    let first = frame(1, (1, 0), b"an honest peer at first");
    send_all_with(&mut left, &first, own, 1);
    assert_eq!(take(&mut inbox, first.len(), &mut right), Ok(1), "the first frame was fine");
    let mut sequence = 1;
    for _ in 0..random.below(7) {
        let announced = u16::try_from([0, 0, 1, random.below(254)][random.below(4)]).unwrap();
        let count = match random.below(4) {
            0 => usize::from(announced),
            1 => 253,
            _ => random.below(254),
        };
        let bytes = noise(random, (announced, sequence));
        sequence += u32::from(announced);
        send_all_with(&mut left, &bytes, own, count);
        if let Err(error) = take(&mut inbox, bytes.len(), &mut right) {
            let is_typed = matches!(
                error,
                InboxError::Decode(_)
                    | InboxError::FdSequence { .. }
                    | InboxError::FdsClaimedTwice { .. }
            );
            assert!(is_typed, "{error}");
            assert_eq!(inbox.advance().err(), Some(error), "the error is final");
            return true;
        }
    }
    drop(left);
    await_end(|| receive(&mut inbox, &mut right));
    false
}

/// Random bytes with random descriptors end in a typed error or `Closed`, and leave no descriptor
/// open.
pub fn random_bytes_and_descriptors_leave_nothing<A: PassFds, B: PassFds>(
    pair: impl Fn() -> (A, B),
) {
    let _turn = many_descriptors();
    let mut random = Random(0x1234_5678);
    let probe = Probe::new();
    let mut refused = 0;
    for _ in 0..200 {
        let was_refused = sends_random_bytes_and_descriptors(pair(), &mut random, probe.own());
        refused += i32::from(was_refused);
    }
    assert!(refused > 80 && refused < 200, "{refused}");
    probe.expect_last();
}

/// Sends frames that announce no descriptors, with 253 descriptors on each call, also in the middle
/// of a frame.
pub fn sends_253_with_each_call<A: PassFds, B: PassFds>(
    (mut left, mut right): (A, B),
    frames: usize,
    own: &OwnedFd,
) {
    let mut inbox = Inbox::<256>::new();
    for _ in 0..frames {
        let mut whole = 0;
        for part in frame(1, (0, 0), b"plain").chunks(11) {
            send_all_with(&mut left, part, own, 253);
            whole += take(&mut inbox, part.len(), &mut right).unwrap();
        }
        assert_eq!(whole, 1);
    }
}

/// Descriptors that no frame announces are closed.
pub fn descriptors_nobody_asked_for_are_closed<A: PassFds, B: PassFds>(pair: impl Fn() -> (A, B)) {
    let _turn = many_descriptors();
    let probe = Probe::new();
    sends_253_with_each_call(pair(), 20, probe.own());
    probe.expect_last();
}

/// Makes `calls` calls, cycling through: the two parts of a frame, with descriptors on both; a
/// receive; a frame with its own descriptor.
pub fn make_calls(peer: &mut impl PassFds, calls: usize, own: &OwnedFd) {
    for call in 0..calls {
        let sequence = u32::try_from(call / 4).unwrap();
        match call % 4 {
            0 => send_all_with(peer, &frame(1, (0, 0), b"two parts")[..28], own, 60),
            1 => send_all_with(peer, &frame(1, (0, 0), b"two parts")[28..], own, 60),
            2 => _ = settled(peer.receive(&mut [0; 4])),
            _ => send_all_with(peer, &frame(2, (1, sequence), b"own"), own, 1),
        }
    }
}

/// How many bytes these calls send, and how many frames.
fn sent_by(calls: usize) -> (usize, usize) {
    let whole = calls / 4;
    let (bytes, frames) = [(0, 0), (28, 0), (33, 1), (33, 1)][calls % 4];
    (whole * 60 + bytes, whole * 2 + frames)
}

/// Receives everything that `calls` calls had sent, and the end.
pub fn take_last_words(right: &mut impl PassFds, calls: usize) {
    let mut inbox = Inbox::<256>::new();
    let (len, frames) = sent_by(calls);
    assert_eq!(take(&mut inbox, len, right), Ok(frames), "each with its own descriptors");
    await_end(|| receive(&mut inbox, right));
}

/// Ends before a given call, with bytes and descriptors in flight both ways.
pub fn dies<A: PassFds, B: PassFds>((mut left, mut right): (A, B), calls: usize, own: &OwnedFd) {
    send_all_with(&mut right, b"hardly read", own, 3);
    make_calls(&mut left, calls, own);
    drop(left);
    take_last_words(&mut right, calls);
}

/// A peer that ends between any two calls leaves complete frames with their descriptors, and no
/// other descriptors.
pub fn a_peer_that_dies_with_descriptors_at_each_call_leaves_nothing<A: PassFds, B: PassFds>(
    pair: impl Fn() -> (A, B),
) {
    let _turn = many_descriptors();
    let probe = Probe::new();
    for calls in 0..16 {
        dies(pair(), calls, probe.own());
    }
    probe.expect_last();
}
