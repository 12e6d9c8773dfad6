//! The pitfalls of SOCK_SEQPACKET sockets, with a peer that breaks the rules.

use std::fs::File;
use std::os::fd::AsFd;

use ipc_tests::fds::{self, Fds};
use ipc_transport::{
    Faults, Faulty, Instant, Interest, PassFds, Seqpacket, Stream, Transport, TransportError,
    Watched, wait,
};
use rustix::io::IoSlice;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};

fn send_empty_with(to: &Seqpacket, file: &File) {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let own = [file.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&own)));
    let sent = sendmsg(to, &[IoSlice::new(b"")], &mut control, SendFlags::empty());
    assert_eq!(sent, Ok(0));
}

pub(crate) fn empty_packets_are_not_taken_for_the_end() {
    let null = File::open("/dev/null").unwrap();
    let before = fds::open().len();
    for closed in [false, true] {
        for count in [1, 2, 15, 40] {
            let (mut left, mut right) = Seqpacket::<4096>::pair().unwrap();
            left.send(&[b"before"]).unwrap();
            for _ in 0..count {
                assert_eq!(send(&left, b"", SendFlags::empty()), Ok(0));
            }
            send_empty_with(&left, &null);
            left.send(&[b"after"]).unwrap();
            assert_eq!(send(&left, b"", SendFlags::empty()), Ok(0));
            let left = (!closed).then_some(left);
            let (mut bytes, mut space, mut fds) = (Vec::new(), [0; 64], Fds::new());
            let mut calls = 0;
            while bytes.len() < 11 {
                calls += 1;
                assert!(calls < 10, "it makes no progress");
                if let Some(received) = right.receive_with(&mut space, &mut fds.fds()).unwrap() {
                    bytes.extend_from_slice(&space[..received.len]);
                }
            }
            assert_eq!(bytes, b"beforeafter");
            assert!(fds.is_empty());
            let end = if closed { Err(TransportError::Closed) } else { Ok(None) };
            assert_eq!(right.receive(&mut space), end);
            assert_eq!(right.receive(&mut space), end);
            drop((left, right));
            assert_eq!(fds::open().len(), before);
        }
    }
}

/// An edge-triggered loop that gets "would block" would wait forever.
pub(crate) fn repro_empty_packets_are_not_would_block() {
    let (mut left, mut right) = Seqpacket::<64>::pair().unwrap();
    for _ in 0..200 {
        assert_eq!(send(&left, b"", SendFlags::empty()), Ok(0));
    }
    left.send(&[b"word"]).unwrap();
    assert_eq!(right.receive(&mut [0; 8]), Ok(Some(4)));
}

pub(crate) fn empty_packets_at_the_end_do_not_hide_it() {
    let (left, mut right) = Seqpacket::<4096>::pair().unwrap();
    for _ in 0..100 {
        assert_eq!(send(&left, b"", SendFlags::empty()), Ok(0));
    }
    drop(left);
    for _ in 0..3 {
        assert_eq!(right.receive(&mut [0; 8]), Err(TransportError::Closed));
    }
}

pub(crate) fn a_packet_that_had_to_be_cut_is_an_error_with_its_numbers() {
    let null = File::open("/dev/null").unwrap();
    let (mut left, right) = Seqpacket::<1000>::pair().unwrap();
    let mut right = Seqpacket::<16>::from(rustix::io::dup(&right).unwrap());
    let before = fds::open().len();
    assert_eq!(left.send_with(&[&[1; 30]], &[null.as_fd()]), Ok(Some(30)));
    left.send_with(&[&[2; 50]], &[null.as_fd()]).unwrap();
    let (mut space, mut fds) = ([0; 20], Fds::new());
    let received = right.receive_with(&mut space, &mut fds.fds()).unwrap().unwrap();
    assert_eq!((received.len, fds.len()), (20, 1), "the caller's space and the rest together");
    assert_eq!(right.receive(&mut space), Ok(Some(10)));
    fds.fds().clear();
    let error = TransportError::PacketTooLong { len: 50, capacity: 36 };
    assert_eq!(right.receive_with(&mut space, &mut fds.fds()), Err(error));
    assert_eq!(fds.len(), 0);
    assert_eq!(fds::open().len(), before);
    left.send(&[b"more"]).unwrap();
    assert_eq!(right.receive(&mut space), Err(error), "the stream has a gap");
}

pub(crate) fn packets_over_the_buffer_go_in_smaller_ones() {
    let (mut left, mut right) = Seqpacket::<300_000>::pair().unwrap();
    let bytes = vec![7; 300_000];
    let first = left.send(&[&bytes]).unwrap().unwrap();
    assert!(first >= 100_000, "{first}");
    let mut space = vec![0; 300_000];
    assert_eq!(right.receive(&mut space), Ok(Some(first)));
    set_socket_send_buffer_size(&left, 1).unwrap();
    let second = left.send(&[&bytes]).unwrap().unwrap();
    assert!(second > 500, "{second}");
    assert_eq!(right.receive(&mut space), Ok(Some(second)));
}

pub(crate) fn a_blocking_receive_waits_for_a_packet_and_sees_the_end() {
    let (mut left, mut right) = Seqpacket::<64>::pair().unwrap();
    right.set_receive_timeout(std::time::Duration::from_millis(20)).unwrap();
    let start = Instant::now();
    assert_eq!(right.blocking().receive(&mut [0; 8]), Ok(None));
    assert!(Instant::now().since(start).as_millis() >= 19);
    left.blocking().send(&[b"word"]).unwrap();
    assert_eq!(right.blocking().receive(&mut [0; 8]), Ok(Some(4)));
    right.send(&[b"unread"]).unwrap();
    left.close_sending().unwrap();
    assert_eq!(right.blocking().receive(&mut [0; 8]), Err(TransportError::Closed));
    drop(left);
    assert_eq!(right.blocking().receive(&mut [0; 8]), Err(TransportError::Closed));
}

/// Receives in parts of every length, and checks that readiness shows all that is left. A `Faulty`
/// without faults behaves the same.
fn shows_all<T: PassFds + AsFd>((left, right): (T, T)) {
    let fd = rustix::io::dup(&right).unwrap();
    let over = |inner| Faulty::new(inner, Faults::NONE, 1);
    let (mut left, mut right) = (over(left), over(right));
    let mut inbox = [0; 64];
    for part in 1..=64 {
        for len in [1, part, part + 1, 3 * part + 2] {
            let sent = vec![7; len];
            let mut rest = &sent[..];
            let mut received = 0;
            while received < len {
                if let Some(count) = left.send(&[rest]).unwrap() {
                    rest = &rest[count..];
                }
                let shown = right.holds_input() || readable(&fd);
                let count = right.receive(&mut inbox[..part]).unwrap();
                assert_eq!(count.is_some(), shown, "{part} of {len}");
                received += count.unwrap_or(0);
            }
            assert!(!right.holds_input() && !readable(&fd));
        }
    }
    drop(left);
    assert!(right.holds_input() || readable(&fd), "the end must show");
}

fn readable(fd: &impl AsFd) -> bool {
    let mut watched = [Watched::new(fd.as_fd(), Interest::Input)];
    wait(&mut watched, Some(Instant::PAST)).unwrap()
}

pub(crate) fn repro_what_would_be_received_shows() {
    shows_all(Seqpacket::<4096>::pair().unwrap());
    shows_all(Seqpacket::<7>::pair().unwrap());
    shows_all(Stream::pair().unwrap());
}

/// It returned "would block" after a thousand, although there was more.
pub(crate) fn repro_who_sends_nothing_but_empty_packets_is_no_peer() {
    let (left, mut right) = Seqpacket::<64>::pair().unwrap();
    let mut child =
        ipc_tests::forked::forked(move || while send(&left, b"", SendFlags::NOSIGNAL).is_ok() {});
    let answer = right.blocking().receive(&mut [0; 8]);
    let Err(TransportError::System(error)) = answer else { panic!("{answer:?}") };
    assert_eq!((error.call, error.errno.0), ("recvmsg", libc::EPROTO));
    assert_eq!(right.receive(&mut [0; 8]), answer, "the error is final");
    assert!(right.holds_input(), "and the error must show");
    child.kill().unwrap();
    child.wait();
}

/// A peer that is about to end, on kernels 5.15 to 6.1.
pub(crate) fn repro_what_an_ending_peer_answers_is_closed() {
    for errno in [libc::ENOTCONN, libc::ECONNREFUSED] {
        let mut child = ipc_tests::forked::forked(move || {
            let (left, mut right) = Seqpacket::<64>::pair().unwrap();
            drop(left);
            ipc_tests::seccomp::refuse(&[libc::SYS_recvmsg, libc::SYS_sendto], errno);
            assert_eq!(right.receive(&mut [0; 8]), Err(TransportError::Closed));
            assert_eq!(right.send(&[b"word"]), Err(TransportError::Closed));
        });
        assert_eq!(child.wait(), ipc_barrier::Ended::Exited(0));
    }
}

/// After a packet that was too long every receive fails.
pub(crate) fn a_packet_that_is_too_long_shows_for_ever() {
    let (left, mut right) = Seqpacket::<8>::pair().unwrap();
    send(&left, &[1; 100], SendFlags::empty()).unwrap();
    for _ in 0..3 {
        assert!(right.holds_input() || readable(&right));
        assert!(right.receive(&mut [0; 8]).is_err());
    }
}
