//! The queue beside a plain model of it.

use super::*;
use crate::decode::Decoder;
use crate::header::Flags;
use crate::kind::Kind;
use crate::message::{Encode, EncodeError};
use core::convert::Infallible;
use std::collections::VecDeque;
use std::vec::Vec as StdVec;

/// Sends up to `limit` bytes into the decoder; returns the bytes taken and who had fds.
fn send<const B: usize, const F: usize>(
    queue: &mut Queue<B, F>,
    limit: usize,
    wire: &mut StdVec<u8>,
) -> (usize, Option<FrameNumber>) {
    let mut fds = None;
    let sent = queue.send_with(|batch| {
        fds = batch.with_fds();
        let before = wire.len();
        wire.extend(batch.pieces().iter().copied().flatten().take(limit));
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
        ids.push(frame.header().id);
    }
    ids
}

#[test]
fn rewind_sends_again_what_is_not_retired() {
    let mut queue = Queue::<256, 4>::new();
    let header = |id| Header::new(Kind::Request, 1, id);
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
    assert_eq!(wire[5], Flags::RESENT.bits(), "the second was sent before");
    assert!(!queue.has_unsent());
}

#[test]
fn frames_with_fds_begin_their_own_batch_and_are_numbered() {
    let mut queue = Queue::<512, 8>::new();
    for (id, fd_count) in [(1, 0), (2, 3), (3, 0), (4, 2)] {
        queue.push(Header { fd_count, ..Header::new(Kind::Request, 1, id) }, &[]).unwrap();
    }
    let mut batches = StdVec::new();
    while queue.has_unsent() {
        let mut wire = StdVec::new();
        let (_, fds) = send(&mut queue, usize::MAX, &mut wire);
        let header = Header::decode(wire[..24].try_into().unwrap()).unwrap();
        batches.push((ids(&wire), fds.is_some(), header.fd_sequence));
    }
    let expected: [(StdVec<u64>, bool, u32); 3] =
        [([1].into(), false, 0), ([2, 3].into(), true, 0), ([4].into(), true, 3)];
    assert_eq!(batches, expected);
}

#[test]
fn a_half_sent_frame_is_finished_although_retired() {
    let mut queue = Queue::<256, 4>::new();
    let number = queue.push(Header::new(Kind::Request, 1, 1), &[b"payload"]).unwrap();
    let mut wire = StdVec::new();
    send(&mut queue, 25, &mut wire);
    queue.retire(number);
    assert!(queue.has_unsent() && !queue.is_empty());
    send(&mut queue, usize::MAX, &mut wire);
    queue.retire_sent();
    assert_eq!(ids(&wire), [1]);
    assert!(queue.is_empty());
}

#[test]
fn a_retired_frame_that_was_not_sent_never_is() {
    let mut queue = Queue::<256, 4>::new();
    queue.push(Header::new(Kind::Request, 1, 1), &[]).unwrap();
    let second = queue.push(Header::new(Kind::Request, 1, 2), &[]).unwrap();
    queue.push(Header::new(Kind::Request, 1, 3), &[]).unwrap();
    queue.retire(second);
    let mut wire = StdVec::new();
    send(&mut queue, usize::MAX, &mut wire);
    assert_eq!(ids(&wire), [1, 3]);
}

#[test]
fn push_tells_too_long_from_full() {
    let mut queue = Queue::<64, 2>::new();
    let header = Header::new(Kind::Request, 1, 1);
    let error = queue.push(header, &[&[0; 41]]).unwrap_err();
    assert_eq!(error, PushError::TooLong { len: 41, capacity: 40 });
    queue.push(header, &[&[0; 30]]).unwrap();
    assert_eq!(queue.push(header, &[]).unwrap_err(), PushError::Full);
    queue.pass_unsent();
    queue.retire_sent();
    queue.push(header, &[&[0; 40]]).unwrap();
}

/// Random pushes, partial sends, retirements and rewinds beside a plain model.
/// A message that says it has written more than there was room for.
struct Boaster(usize);

impl Encode for Boaster {
    fn encoded_len(&self) -> Result<usize, EncodeError> {
        Ok(1)
    }

    fn encode(&self, _space: &mut [u8]) -> Result<usize, EncodeError> {
        Ok(self.0)
    }
}

#[test]
fn repro_a_message_that_boasts_of_its_length_is_not_taken() {
    let mut queue = Queue::<64, 4>::new();
    let header = Header::new(Kind::Log, 0, 0);
    for len in [2, 41, usize::MAX] {
        assert_eq!(queue.push_message(header, &Boaster(len)), Err(PushError::Unencodable));
    }
    assert!(queue.is_empty());
    assert!(queue.push_message(header, &Boaster(1)).is_ok());
}

#[test]
fn queue_agrees_with_a_model() {
    // An interpreter is some hundred times slower.
    let seeds: u64 = if cfg!(miri) { 2 } else { 200 };
    for seed in 1..=seeds {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap() % below
        };
        let mut queue = Queue::<300, 6>::new();
        // (id, number, bytes on the wire, retired)
        let mut model: VecDeque<(u64, FrameNumber, usize, bool)> = VecDeque::new();
        let mut wire = StdVec::new();
        let mut expected = StdVec::new();
        let (mut cursor, mut offset) = (0, 0);
        for id in 0..400 {
            match random(6) {
                0 | 1 => {
                    let payload = std::vec![0; random(120)];
                    let header = Header::new(Kind::Request, 1, id);
                    if let Ok(number) = queue.push(header, &[&payload]) {
                        model.push_back((id, number, 24 + payload.len(), false));
                    } else {
                        assert!(!model.is_empty(), "an empty queue takes any frame");
                    }
                }
                2 | 3 => {
                    let (mut len, _) = send(&mut queue, random(200), &mut wire);
                    while cursor < model.len() && (len > 0 || model[cursor].3) {
                        let (id, _, size, retired) = model[cursor];
                        if retired && offset == 0 {
                            cursor += 1;
                        } else if len == 0 {
                            break;
                        } else if len < size - offset {
                            offset += len;
                            len = 0;
                        } else {
                            len -= size - offset;
                            offset = 0;
                            cursor += 1;
                            expected.push(id);
                        }
                    }
                }
                4 if !model.is_empty() => {
                    let index = random(model.len());
                    queue.retire(model[index].1);
                    model[index].3 = true;
                }
                5 if random(8) == 0 => {
                    assert_eq!(ids(&wire), expected, "seed {seed}");
                    queue.rewind();
                    wire.clear();
                    expected.clear();
                    (cursor, offset) = (0, 0);
                }
                _ => {}
            }
            while cursor < model.len() && offset == 0 && model[cursor].3 {
                cursor += 1;
            }
            while cursor > 0 && model.front().is_some_and(|entry| entry.3) {
                model.pop_front();
                cursor -= 1;
            }
            if wire.len() > 3000 && offset == 0 {
                assert_eq!(ids(&wire), expected, "seed {seed}");
                wire.clear();
                expected.clear();
            }
            let unsent = offset > 0 || model.iter().skip(cursor).any(|entry| !entry.3);
            assert_eq!(queue.has_unsent(), unsent, "seed {seed}");
            assert_eq!(queue.is_empty(), model.is_empty(), "seed {seed}");
        }
    }
}
