//! A peer that sends descriptors as it likes, and ends when it likes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipc_barrier::Ended;
use ipc_tests::counting::Counting;
use ipc_tests::fds::{self, file};
use ipc_tests::forked::{end_of, forked, soon};
use ipc_tests::wire::frame;
use ipc_transport::{
    BytePair, Inbox, InboxError, Interest, PassFds, Stream, Transport, TransportError, Watched,
    duplicate, wait,
};

use crate::bytes::{Random, is_closed, patiently, receive_exactly, send_all, settled};
use crate::descriptors::send_with;
use crate::hostile::{kill_self, noise};

/// Sends all bytes, and the same descriptor some times with the first of them.
fn send_all_with(to: &mut impl PassFds, bytes: &[u8], own: &OwnedFd, count: usize) {
    let len = send_with(to, bytes, &vec![own; count]);
    send_all(to, &bytes[len..]);
}

/// Takes frames until so many bytes more have arrived, or are refused, without asking for memory.
/// Returns how many had all their descriptors.
fn take(inbox: &mut Inbox<256>, len: usize, from: &mut impl PassFds) -> Result<usize, InboxError> {
    let allocations = Counting::count();
    let (mut left, mut whole) = (len, 0);
    let fate = loop {
        match inbox.advance() {
            Ok(Some(header)) => {
                let arrival = inbox.current();
                assert!(arrival.payload.len() <= 232);
                let expected = if arrival.fds_lost.is_none() { header.fd_count() } else { 0 };
                assert_eq!(arrival.fds.iter().count(), usize::from(expected), "its own or none");
                whole += usize::from(arrival.fds_lost.is_none());
            }
            Ok(None) if left == 0 => break Ok(whole),
            Ok(None) => left -= patiently(|| settled(fds::receive(inbox, from))),
            Err(error) => break Err(error),
        }
    };
    assert_eq!(Counting::count(), allocations, "it asked for memory");
    fate
}

/// Sends a frame with its descriptor, and then noise with any number of them on each call.
/// Returns whether it was refused.
pub(crate) fn sends_random_bytes_and_descriptors<A: PassFds, B: PassFds>(
    (mut left, mut right): (A, B),
    random: &mut Random,
    own: &OwnedFd,
) -> bool {
    let mut inbox = Inbox::<256>::new();
    let first = frame(1, (1, 0), b"a peer like others at first");
    send_all_with(&mut left, &first, own, 1);
    assert_eq!(take(&mut inbox, first.len(), &mut right), Ok(1), "this connection was fine");
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
            assert_eq!(inbox.advance().err(), Some(error), "for ever");
            return true;
        }
    }
    drop(left);
    patiently(|| is_closed(fds::receive(&mut inbox, &mut right)).then_some(()));
    false
}

pub(crate) fn random_bytes_and_descriptors_leave_nothing<A: PassFds, B: PassFds>(
    pair: fn() -> (A, B),
) {
    let mut random = Random(0x1234_5678);
    let own = file();
    let (mut refused, open) = (0, fds::open().len());
    for _ in 0..200 {
        let was_refused = sends_random_bytes_and_descriptors(pair(), &mut random, &own);
        refused += i32::from(was_refused);
        assert_eq!(fds::open().len(), open);
    }
    assert!(refused > 80 && refused < 200, "{refused}");
}

/// Sends frames that announce no descriptor with 253 on each call, in the middle of one, too.
pub(crate) fn sends_253_with_each_call<A: PassFds, B: PassFds>(
    (mut left, mut right): (A, B),
    frames: usize,
    own: &OwnedFd,
) {
    let mut inbox = Inbox::<256>::new();
    let open = fds::open().len();
    for _ in 0..frames {
        let mut whole = 0;
        for part in frame(1, (0, 0), b"plain").chunks(11) {
            send_all_with(&mut left, part, own, 253);
            whole += take(&mut inbox, part.len(), &mut right).unwrap();
        }
        assert_eq!(whole, 1);
    }
    assert_eq!(fds::open().len(), open, "none is kept for later");
}

pub(crate) fn descriptors_nobody_asked_for_are_closed<A: PassFds, B: PassFds>(
    pair: fn() -> (A, B),
) {
    let own = file();
    let open = fds::open().len();
    sends_253_with_each_call(pair(), 20, &own);
    assert_eq!(fds::open().len(), open);
}

/// Makes some calls: a frame in two parts with descriptors on both, a look at what has come, a
/// frame with its own, each again.
fn make_calls(peer: &mut impl PassFds, calls: usize, own: &OwnedFd) {
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

/// How many bytes those calls send, and how many frames.
fn sent_by(calls: usize) -> (usize, usize) {
    let whole = calls / 4;
    let (bytes, frames) = [(0, 0), (28, 0), (33, 1), (33, 1)][calls % 4];
    (whole * 60 + bytes, whole * 2 + frames)
}

fn take_last_words(right: &mut impl PassFds, calls: usize) {
    let mut inbox = Inbox::<256>::new();
    let (len, frames) = sent_by(calls);
    assert_eq!(take(&mut inbox, len, right), Ok(frames), "each with its own");
    patiently(|| is_closed(fds::receive(&mut inbox, right)).then_some(()));
}

/// Ends before a call, with bytes and descriptors under way to both sides.
pub(crate) fn dies<A: PassFds, B: PassFds>(
    (mut left, mut right): (A, B),
    calls: usize,
    own: &OwnedFd,
) {
    send_all_with(&mut right, b"hardly read", own, 3);
    make_calls(&mut left, calls, own);
    drop(left);
    take_last_words(&mut right, calls);
}

pub(crate) fn a_peer_that_dies_with_descriptors_at_each_call_leaves_nothing<
    A: PassFds,
    B: PassFds,
>(
    pair: fn() -> (A, B),
) {
    let own = file();
    let open = fds::open().len();
    for calls in 0..16 {
        dies(pair(), calls, &own);
        assert_eq!(fds::open().len(), open);
    }
}

/// The same with a process, which SIGKILL takes before its next call.
pub(crate) fn a_process_killed_with_descriptors_at_each_call_leaves_nothing<
    A: PassFds,
    B: PassFds,
>(
    pair: fn() -> (A, B),
) {
    let own = file();
    let open = fds::open().len();
    for calls in 0..12 {
        let (mut left, mut right) = pair();
        send_all_with(&mut right, b"hardly read", &own, 3);
        let mut child = forked(|| {
            make_calls(&mut left, calls, &own);
            kill_self();
        });
        drop(left);
        take_last_words(&mut right, calls);
        assert_eq!(end_of(&mut child), Ended::Killed(9));
        drop((right, child));
        assert_eq!(fds::open().len(), open);
    }
}

pub(crate) fn a_peer_that_sends_its_own_end_is_closed_once_that_is<A, B>(pair: fn() -> (A, B))
where
    A: PassFds + AsFd,
    B: PassFds,
{
    let open = fds::open().len();
    let (mut left, mut right) = pair();
    let mut inbox = Inbox::<256>::new();
    let own: OwnedFd = duplicate(left.as_fd()).unwrap();
    let bytes = frame(1, (1, 0), b"me");
    send_all_with(&mut left, &bytes, &own, 1);
    drop((left, own));
    patiently(|| {
        settled(fds::receive(&mut inbox, &mut right));
        inbox.advance().unwrap()
    });
    assert_eq!(fds::receive(&mut inbox, &mut right), Ok(None), "this process holds it now");
    assert_eq!(inbox.advance().unwrap(), None);
    assert_eq!(fds::receive(&mut inbox, &mut right), Err(TransportError::Closed));
    drop((right, inbox));
    assert_eq!(fds::open().len(), open);
}

/// A byte pair takes no descriptors; what is sent to it with some over a local socket is closed.
pub(crate) fn descriptors_sent_to_a_byte_pair_are_closed() {
    let (reader, writer) = std::io::pipe().unwrap();
    let writer = OwnedFd::from(writer);
    let (mut left, right) = Stream::pair().unwrap();
    let mut right = BytePair::both(duplicate(right.as_fd()).unwrap()).unwrap();
    let open = fds::open().len();
    for _ in 0..20 {
        let many: [BorrowedFd<'_>; 253] = [writer.as_fd(); 253];
        assert_eq!(left.send_with(&[b"with"], &many), Ok(Some(4)));
        assert_eq!(receive_exactly(&mut right, 4), b"with");
        assert_eq!(fds::open().len(), open);
    }
    drop(writer);
    // The pipe ends with the last descriptor of its writer, wherever that was.
    let mut watched = [Watched::new(reader.as_fd(), Interest::End)];
    assert!(wait(&mut watched, Some(soon())).unwrap(), "still open");
    drop(left);
    assert_eq!(right.receive(&mut [0; 8]), Err(TransportError::Closed));
}
