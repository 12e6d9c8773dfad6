//! One rule of the queue per test. `tests/queue.rs` compares the queue with a model.

use super::*;
use crate::decode::Decoder;
use crate::header::MAX_FDS;
use crate::kind::Kind;
use core::convert::Infallible;
use static_assertions::assert_impl_all;
use std::vec::Vec as StdVec;

assert_impl_all!(Queue<64, 2>: Send, Sync);

/// Sends up to `limit` bytes to `wire`. Returns how many were sent, and the frame whose descriptors
/// went along.
fn send<const B: usize, const F: usize>(
    queue: &mut Queue<B, F>,
    limit: usize,
    wire: &mut StdVec<u8>,
) -> (usize, Option<FrameNumber>) {
    let mut fds = None;
    let sent = queue.send_with(|pieces, with_fds| {
        fds = with_fds;
        let before = wire.len();
        wire.extend(pieces.iter().copied().flatten().take(limit));
        Ok::<_, Infallible>(Some(wire.len() - before))
    });
    (sent.unwrap().unwrap_or(0), fds)
}

fn ids(wire: &[u8]) -> StdVec<u64> {
    let mut decoder = Decoder::<4096>::new();
    decoder.space()[..wire.len()].copy_from_slice(wire);
    decoder.filled(wire.len());
    let mut ids = StdVec::new();
    while let Some(frame) = decoder.next_frame().unwrap() {
        ids.push(frame.header().id());
    }
    ids
}

#[test]
fn rewind_resends_what_is_not_retired() {
    let mut queue = Queue::<256, 4>::new();
    let header = |id| Header::request(1, id);
    let first = queue.push(header(1), &[b"a"]).unwrap();
    queue.push(header(2), &[b"b"]).unwrap();
    queue.push(header(3), &[b"c"]).unwrap();
    let mut wire = StdVec::new();
    send(&mut queue, 60, &mut wire);
    queue.retire(first);
    queue.rewind();
    let mut wire = StdVec::new();
    send(&mut queue, usize::MAX, &mut wire);
    assert_eq!(ids(&wire), [2, 3]);
    assert_eq!(wire[5], 1, "the second was sent before");
    assert!(!queue.has_unsent());
}

#[test]
fn frames_with_fds_begin_their_own_batch_and_are_numbered() {
    let mut queue = Queue::<512, 8>::new();
    for (id, fd_count) in [(1, 0), (2, 3), (3, 0), (4, 2)] {
        queue.push_with_fds(Header::request(1, id), fd_count, &[]).unwrap();
    }
    let mut batches = StdVec::new();
    while queue.has_unsent() {
        let mut wire = StdVec::new();
        let (_, fds) = send(&mut queue, usize::MAX, &mut wire);
        let header = Header::decode(wire[..24].try_into().unwrap()).unwrap();
        batches.push((ids(&wire), fds.is_some(), header.fd_sequence()));
    }
    let expected: [(StdVec<u64>, bool, u32); 3] =
        [([1].into(), false, 0), ([2, 3].into(), true, 0), ([4].into(), true, 3)];
    assert_eq!(batches, expected);
}

#[test]
fn a_half_sent_frame_is_finished_although_retired() {
    let mut queue = Queue::<256, 4>::new();
    let number = queue.push(Header::request(1, 1), &[b"payload"]).unwrap();
    let mut wire = StdVec::new();
    send(&mut queue, 25, &mut wire);
    queue.retire(number);
    assert!(queue.has_unsent() && !queue.has_room_for(232));
    send(&mut queue, usize::MAX, &mut wire);
    queue.retire_sent();
    assert_eq!(ids(&wire), [1]);
    assert!(queue.has_room_for(232));
}

#[test]
fn a_frame_retired_before_it_is_sent_is_never_sent() {
    let mut queue = Queue::<256, 4>::new();
    queue.push(Header::request(1, 1), &[]).unwrap();
    let second = queue.push(Header::request(1, 2), &[]).unwrap();
    queue.push(Header::request(1, 3), &[]).unwrap();
    queue.retire(second);
    let mut wire = StdVec::new();
    send(&mut queue, usize::MAX, &mut wire);
    assert_eq!(ids(&wire), [1, 3]);
}

#[test]
fn push_tells_too_long_from_full() {
    let mut queue = Queue::<64, 2>::new();
    let header = Header::request(1, 1);
    let error = queue.push(header, &[&[0; 41]]).unwrap_err();
    assert_eq!(error, PushError::TooLong { len: 41, capacity: 40 });
    queue.push(header, &[&[0; 30]]).unwrap();
    assert_eq!(queue.push(header, &[]).unwrap_err(), PushError::Full);
    queue.pass_unsent();
    queue.retire_sent();
    queue.push(header, &[&[0; 40]]).unwrap();
}

/// A receiver accepts every frame that the queue takes: all constructors, with counts below and
/// above the limit.
#[test]
fn repro_a_queued_header_is_always_accepted() {
    for count in [0, 1, 2, 252, 253, 254, 255, 65_535, 65_536, usize::MAX] {
        for header in [
            Header::request(u16::MAX, u64::MAX),
            Header::one_way(u16::MAX, u64::MAX),
            Header::reply(u64::MAX),
            Header::refusal(u64::MAX),
            Header::ready(),
            Header::failed(),
            Header::done(u64::MAX),
            Header::request(1, 1).allowing(u16::MAX),
            Header::reply(1).allowing(1),
        ] {
            let kind = header.kind();
            let has_fds = matches!(kind, Kind::Request | Kind::OneWay | Kind::Reply);
            let limit = if has_fds { MAX_FDS } else { 0 };
            let expected = match u16::try_from(count) {
                Ok(count) if count <= limit => Ok(count),
                _ => Err(PushError::TooManyFds { count, limit }),
            };
            let mut queue = Queue::<64, 2>::new();
            let pushed = queue.push_with_fds(header, count, &[b"x"]);
            let reserved = queue.reserve(1).and_then(|room| queue.commit(room, header, count, 1));
            assert_eq!((pushed.err(), reserved.err()), (expected.err(), expected.err()));
            assert_eq!(queue.first().is_none(), expected.is_err());
            queue.pass_unsent();
            queue.rewind();
            let frame = queue.next_unsent().map(|(_, frame)| *frame.header());
            assert_eq!(
                frame.map(|header| (header.kind(), header.len())),
                expected.ok().map(|_| (kind, 1))
            );
            assert_eq!(frame.map(|header| header.fd_count()), expected.ok());
            let mut wire = StdVec::new();
            send(&mut queue, 24, &mut wire);
            assert_eq!(wire.is_empty(), expected.is_err());
            if let Some(bytes) = wire.first_chunk() {
                assert_eq!(Header::decode(bytes).ok(), frame);
            }
        }
    }
}

/// Pushing a received header makes a new frame of it.
#[test]
fn a_received_header_is_pushed_without_its_old_length_and_descriptors() {
    let mut queue = Queue::<64, 2>::new();
    let mut bytes = Header::request(1, 2).encode_with(9, 3, 7).unwrap();
    Header::stamp_resent(&mut bytes);
    let number = queue.push(Header::decode(&bytes).unwrap(), &[b"x"]).unwrap();
    let header = *queue.frame(number).unwrap().header();
    assert_eq!((header.len(), header.fd_count(), header.fd_sequence()), (1, 0, 0));
    assert!(!header.is_resent());
}

#[test]
fn a_payload_ends_with_its_room() {
    let mut queue = Queue::<128, 2>::new();
    let room = queue.reserve(3).unwrap();
    let number = queue.commit(room, Header::reply(1), 0, usize::MAX).unwrap();
    assert_eq!(queue.frame(number).unwrap().payload(), [0; 3]);
    queue.push(Header::reply(2), &[]).unwrap();
    let mut wire = StdVec::new();
    send(&mut queue, usize::MAX, &mut wire);
    assert_eq!(ids(&wire), [1, 2]);
}

#[test]
fn repro_a_number_from_before_clear_is_not_in_the_queue() {
    let mut queue = Queue::<64, 2>::new();
    let old = queue.push(Header::reply(1), &[]).unwrap();
    queue.clear();
    let new = queue.push(Header::reply(2), &[]).unwrap();
    queue.retire(old);
    queue.withdraw(old);
    assert_eq!((queue.id(old), queue.id(new)), (None, Some(2)));
    assert!(queue.has_unsent() && queue.next_after(old) == Some(new));
}

#[test]
fn debug_shows_the_frames_and_how_far_they_went_out() {
    let mut queue = Queue::<256, 4>::new();
    for id in [1, 2] {
        queue.push(Header::request(1, id), &[b"a"]).unwrap();
    }
    send(&mut queue, 35, &mut StdVec::new());
    let state = std::format!("{queue:?}");
    assert!(state.contains("0..2") && state.contains("byte 10"), "{state}");
}
