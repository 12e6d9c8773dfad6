//! Descriptors from a process that is killed by SIGKILL, and unexpected descriptors.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipc_barrier::Ended;
use ipc_tests::fds::{self, file};
use ipc_tests::forked::{end_of, forked, soon};
use ipc_tests::wire::frame;
use ipc_transport::laws::parts::strays::{make_calls, send_all_with, take_last_words};
use ipc_transport::laws::parts::{patiently, receive_exactly, settled};
use ipc_transport::{
    BytePair, Inbox, Interest, PassFds, Stream, Transport, TransportError, Watched, duplicate, wait,
};

use crate::hostile::kill_self;

/// Each frame that it sent arrives with its own descriptors, and no other descriptor is left.
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
    assert_eq!(fds::receive(&mut inbox, &mut right), Ok(None), "this process now holds it");
    assert_eq!(inbox.advance().unwrap(), None);
    assert_eq!(fds::receive(&mut inbox, &mut right), Err(TransportError::Closed));
    drop((right, inbox));
    assert_eq!(fds::open().len(), open);
}

/// A byte pair accepts no descriptors. Descriptors sent to it over a local socket are closed.
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
    // The pipe ends once every descriptor of its writing end is closed.
    let mut watched = [Watched::new(reader.as_fd(), Interest::End)];
    assert!(wait(&mut watched, Some(soon())).unwrap(), "still open");
    drop(left);
    assert_eq!(right.receive(&mut [0; 8]), Err(TransportError::Closed));
}
