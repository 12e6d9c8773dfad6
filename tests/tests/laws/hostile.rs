//! A peer that sends what it likes and ends when it likes.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ipc_barrier::Ended;
use ipc_frame::{DecodeError, Decoder, Header, Kind};
use ipc_tests::counting::Counting;
use ipc_tests::fds;
use ipc_tests::forked::{end_of, forked};
use ipc_transport::{Inbox, InboxError, Instant, PassFds, Transport, TransportError, duplicate};

use crate::bytes::{Random, patiently, send_all, settled};
use crate::cuts::frame;
use crate::descriptors::{file, send_with};

/// What became of a stream of bytes.
#[derive(Debug, PartialEq)]
enum Fate {
    /// Not one whole frame more, for now.
    Waits,
    Refused(DecodeError),
    Closed,
}

/// Takes frames until there is nothing more to do, without asking for memory.
fn take_all<const N: usize>(decoder: &mut Decoder<N>, from: &mut impl Transport) -> Fate {
    let allocations = Counting::count();
    let mut waits = 0;
    let fate = loop {
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => assert!(frame.payload().len() <= N),
                Ok(None) => break,
                Err(error) => return Fate::Refused(error),
            }
        }
        match from.receive(decoder.space()) {
            Err(TransportError::Closed) => break Fate::Closed,
            answer => match settled(answer) {
                Some(len) => decoder.filled(len),
                None if waits > 60 => break Fate::Waits,
                None => {
                    waits += 1;
                    std::thread::sleep(Duration::from_micros(20));
                }
            },
        }
    };
    assert_eq!(Counting::count(), allocations, "it asked for memory");
    fate
}

pub(crate) fn random_bytes_end_in_a_typed_error<A: Transport, B: Transport>(pair: fn() -> (A, B)) {
    let mut random = Random(0x9e37_79b9);
    let (mut refused, mut open) = (0, None);
    for round in 0..60 {
        let (mut left, mut right) = pair();
        let mut decoder = Decoder::<256>::new();
        for _ in 0..10 {
            let mut bytes = frame(1, (0, 0), &vec![1; random.below(90)]);
            for _ in 0..random.below(3) {
                let place = random.below(bytes.len());
                bytes[place] = bytes[random.below(24)] ^ 0x81;
            }
            send_all(&mut left, &bytes);
        }
        let fate = take_all(&mut decoder, &mut right);
        assert!(fate != Fate::Closed);
        refused += i32::from(fate != Fate::Waits);
        drop((left, right));
        if round > 10 {
            assert_eq!(*open.get_or_insert(fds::open().len()), fds::open().len());
        }
    }
    assert!(refused > 20, "{refused}");
}

pub(crate) fn forged_lengths_end_in_a_typed_error<A: Transport, B: Transport>(
    pair: fn() -> (A, B),
) {
    for len in [233, 257, 65_536, 1 << 24, i32::MAX.unsigned_abs(), u32::MAX - 24, u32::MAX] {
        let (mut left, mut right) = pair();
        let header = Header { len, ..Header::new(Kind::Request, 1, 1) };
        send_all(&mut left, &header.encode());
        let mut decoder = Decoder::<256>::new();
        let refused = patiently(|| match take_all(&mut decoder, &mut right) {
            Fate::Refused(error) => Some(error),
            _ => None,
        });
        assert_eq!(refused, DecodeError::TooLong { len, capacity: 232 });
    }
}

pub(crate) fn half_a_frame_and_silence_end_at_a_deadline<A: Transport, B: Transport>(
    pair: fn() -> (A, B),
) {
    let whole = frame(1, (0, 0), b"payload");
    for len in [1, 23, 24, 30] {
        let (mut left, mut right) = pair();
        send_all(&mut left, &whole[..len]);
        let mut decoder = Decoder::<256>::new();
        let deadline = Instant::now() + Duration::from_millis(10);
        while Instant::now() < deadline {
            assert_eq!(take_all(&mut decoder, &mut right), Fate::Waits, "no call waits");
        }
        // It was only slow.
        send_all(&mut left, &whole[len..]);
        patiently(|| {
            let len = settled(right.receive(decoder.space()))?;
            decoder.filled(len);
            decoder.next_frame().unwrap().map(|frame| assert_eq!(frame.payload(), b"payload"))
        });
    }
}

pub(crate) fn a_peer_that_dies_at_each_call_leaves_nothing<A: Transport, B: Transport>(
    pair: fn() -> (A, B),
) {
    let whole = frame(1, (0, 0), b"payload");
    let mut before = None;
    for last in 0..20 {
        let (mut left, mut right) = pair();
        let mut decoder = Decoder::<256>::new();
        let mut calls = 0;
        for piece in whole.chunks(7).cycle().take(20) {
            if calls == last {
                break;
            }
            send_all(&mut left, piece);
            calls += 1;
        }
        drop(left);
        patiently(|| (take_all(&mut decoder, &mut right) == Fate::Closed).then_some(()));
        let pieces = calls;
        let sent: usize = whole.chunks(7).cycle().take(pieces).map(<[u8]>::len).sum();
        assert_eq!(decoder.received(), u64::try_from(sent).unwrap(), "to the last byte");
        drop(right);
        if last > 2 {
            assert_eq!(*before.get_or_insert(fds::open().len()), fds::open().len());
        }
    }
}

/// The same with a process, which SIGKILL takes before its next call. What it had sent arrives.
pub(crate) fn a_process_killed_at_each_call_leaves_nothing<A: Transport, B: Transport>(
    pair: fn() -> (A, B),
) {
    let whole = frame(1, (0, 0), b"payload");
    let mut before = None;
    for last in 0..12 {
        let (mut left, mut right) = pair();
        let mut child = forked(|| {
            for piece in whole.chunks(7).cycle().take(last) {
                send_all(&mut left, piece);
            }
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
        });
        drop(left);
        let mut decoder = Decoder::<256>::new();
        patiently(|| (take_all(&mut decoder, &mut right) == Fate::Closed).then_some(()));
        assert_eq!(end_of(&mut child), Ended::Killed(9));
        let sent: usize = whole.chunks(7).cycle().take(last).map(<[u8]>::len).sum();
        assert_eq!(decoder.received(), u64::try_from(sent).unwrap(), "to the last byte");
        drop((right, child));
        if last > 2 {
            assert_eq!(*before.get_or_insert(fds::open().len()), fds::open().len());
        }
    }
}

pub(crate) fn descriptors_nobody_asked_for_are_closed<A: PassFds, B: PassFds>(
    pair: fn() -> (A, B),
) {
    let (mut left, mut right) = pair();
    let mut inbox = Inbox::<4096>::new();
    let own = file();
    let before = fds::open().len();
    for _ in 0..20 {
        let plain = frame(1, (0, 0), b"plain");
        let mut rest = &plain[..];
        while !rest.is_empty() {
            // 253 with every message, in the middle of a frame, too.
            let len = rest.len().min(11);
            rest = &rest[send_with(&mut left, &rest[..len], &[&own; 253])..];
            let allocations = Counting::count();
            for _ in 0..40 {
                settled(inbox.receive(&mut right));
                while inbox.advance().unwrap().is_some() {
                    let arrival = inbox.current();
                    assert!(arrival.fds.is_empty() && arrival.fds_lost.is_none());
                }
            }
            assert_eq!(Counting::count(), allocations, "it asked for memory");
        }
    }
    patiently(|| {
        settled(inbox.receive(&mut right));
        assert!(inbox.advance().unwrap().is_none_or(|header| header.id == 1));
        (fds::open().len() == before).then_some(())
    });
}

pub(crate) fn random_bytes_and_descriptors_leave_nothing<A: PassFds, B: PassFds>(
    pair: fn() -> (A, B),
) {
    let mut random = Random(0x1234_5678);
    let own = file();
    let mut before = None;
    for round in 0..200 {
        let (mut left, mut right) = pair();
        let mut inbox = Inbox::<256>::new();
        let mut refused = None;
        for _ in 0..6 {
            let announced = u16::try_from(random.below(4)).unwrap();
            let mut bytes = frame(1, (announced, 0), &[1; 20]);
            if random.below(2) == 0 {
                let place = random.below(bytes.len());
                bytes[place] = u8::try_from(random.below(256)).unwrap();
            }
            let count = random.below(5);
            send_with(&mut left, &bytes, &vec![&own; count]);
            for _ in 0..8 {
                settled(inbox.receive(&mut right));
                loop {
                    match inbox.advance() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(error @ (InboxError::Decode(_) | InboxError::FdSequence { .. })) => {
                            refused = Some(error);
                            break;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            assert!(refused.is_none() || inbox.advance().err() == refused, "for ever");
        }
        drop((left, right, inbox));
        if round > 10 {
            assert_eq!(*before.get_or_insert(fds::open().len()), fds::open().len());
        }
    }
}

pub(crate) fn a_peer_that_sends_its_own_end_is_closed_once_that_is<A, B>(pair: fn() -> (A, B))
where
    A: PassFds + AsFd,
    B: PassFds,
{
    let (mut left, mut right) = pair();
    let before = fds::open().len();
    let mut inbox = Inbox::<256>::new();
    let own: OwnedFd = duplicate(left.as_fd()).unwrap();
    send_with(&mut left, &frame(1, (1, 0), b"me"), &[&own]);
    drop((left, own));
    patiently(|| settled(inbox.receive(&mut right)));
    assert_eq!(inbox.advance().unwrap().unwrap().id, 1);
    assert_eq!(inbox.receive(&mut right), Ok(None), "this process holds it now");
    assert_eq!(inbox.advance().unwrap(), None);
    assert_eq!(inbox.receive(&mut right), Err(TransportError::Closed));
    assert_eq!(fds::open().len(), before - 1);
}
