//! Cases for single transports: socket calls, the ends of sockets, and a full loopback.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use ipc_frame::Header;
use ipc_tests::cases::skip;
use ipc_tests::fds::{self, Fds, id_of, is_cloexec};
use ipc_transport::{
    Errno, Inbox, Loopback, Outbox, PassFds, Stream, SystemError, Transport, TransportError,
    above_stdio, duplicate, open_stdio,
};

use crate::arrivals::{got, take_all};

pub(crate) fn a_loopback_takes_as_many_bytes_as_fit() {
    let mut loopback = Loopback::<16>::new();
    let (mut left, mut right) = loopback.ends();
    assert_eq!(left.send(&[&[7; 20]]), Ok(Some(16)), "as many as fit");
    assert_eq!(left.send(&[&[7; 20]]), Ok(None), "full");
    assert_eq!(right.receive(&mut [0; 5]), Ok(Some(5)));
    assert_eq!(left.send(&[&[7; 20]]), Ok(Some(5)));
    assert_eq!(left.receive(&mut [0; 5]), Ok(None), "the directions are independent");
}

pub(crate) fn repro_empty_pieces_hide_none_that_come_after() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut pieces: Vec<&[u8]> = vec![&[]; 40];
    pieces.push(b"here");
    assert_eq!(left.send(&pieces), Ok(Some(4)));
    let null = File::open("/dev/null").unwrap();
    assert_eq!(left.send_with(&pieces, &[null.as_fd()]), Ok(Some(4)));
    let (mut space, mut fds) = ([0; 16], Fds::new());
    assert_eq!(right.receive(&mut space[..4]), Ok(Some(4)));
    let received = right.receive_with(&mut space, &mut fds.fds()).unwrap().unwrap();
    assert_eq!((received.len, fds.len()), (4, 1));
}

pub(crate) fn more_pieces_than_one_call_takes_go_out_in_order() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let bytes: Vec<u8> = (0..100).collect();
    let mut rest: Vec<&[u8]> = bytes.chunks(1).collect();
    while !rest.is_empty() {
        let sent = left.send(&rest).unwrap().unwrap();
        rest.drain(..sent);
    }
    let mut space = [0; 200];
    assert_eq!(right.receive(&mut space), Ok(Some(100)));
    assert_eq!(space[..100], bytes);
}

pub(crate) fn every_socket_is_closed_on_exec_and_lies_above_the_standard_streams() {
    for fd in 0..3 {
        // SAFETY: this case uses none of the three afterwards.
        unsafe { libc::close(fd) };
    }
    let (left, right) = Stream::pair().unwrap();
    let mut low = fds::open();
    low.retain(|&fd| fd < 3);
    assert_eq!(low, []);
    for stream in [&left, &right] {
        let fd = duplicate(stream.as_fd()).unwrap();
        assert!(stream.as_fd().as_raw_fd() > 2 && fd.as_raw_fd() > 2 && is_cloexec(&fd));
        let flags = rustix::io::fcntl_getfd(stream).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
    let moved = above_stdio(File::open("/dev/zero").unwrap().into()).unwrap();
    assert!(moved.as_raw_fd() > 2 && is_cloexec(&moved));
    open_stdio().unwrap();
    low = fds::open();
    low.retain(|&fd| fd < 3);
    assert_eq!(low, [0, 1, 2]);
    // Streams that are already open stay as they are.
    let before = id_of(std::io::stdin());
    open_stdio().unwrap();
    assert_eq!(id_of(std::io::stdin()), before);
}

pub(crate) fn sending_to_a_dead_peer_is_closed_and_raises_no_signal() {
    // SAFETY: no handler is installed; a SIGPIPE would end this case.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let null = File::open("/dev/null").unwrap();
    let (mut left, right) = Stream::pair().unwrap();
    drop(right);
    for _ in 0..3 {
        assert_eq!(left.send(&[b"x"]), Err(TransportError::Closed));
        assert_eq!(left.send(&[b"x", b"y"]), Err(TransportError::Closed));
        assert_eq!(left.send_with(&[b"x"], &[null.as_fd()]), Err(TransportError::Closed));
        assert_eq!(left.blocking().send(&[b"x"]), Err(TransportError::Closed));
        assert_eq!(left.blocking().send_with(&[b"x"], &[]), Err(TransportError::Closed));
    }
    let mut outbox = Outbox::<256, 4>::new();
    outbox.push(Header::request(1, 1), &[b"kept"]).unwrap();
    assert_eq!(outbox.flush(&mut left), Err(TransportError::Closed));
    assert!(outbox.has_unsent() && !outbox.has_sent(), "the frame is kept");
    let (mut left, mut right) = Stream::pair().unwrap();
    outbox.flush(&mut left).unwrap();
    let (mut inbox, mut list) = (Inbox::<256>::new(), Vec::new());
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(list, [got(1, b"kept", &[])]);
}

pub(crate) fn closing_the_sending_direction_leaves_the_other() {
    let (mut left, mut right) = Stream::pair().unwrap();
    left.send(&[b"bye"]).unwrap();
    left.close_sending().unwrap();
    let mut space = [0; 8];
    assert_eq!(right.receive(&mut space), Ok(Some(3)));
    assert_eq!(right.receive(&mut space), Err(TransportError::Closed));
    assert_eq!(right.send(&[b"answer"]), Ok(Some(6)));
    assert_eq!(left.receive(&mut space), Ok(Some(6)));
    assert_eq!(left.send(&[b"x"]), Err(TransportError::Closed));
}

pub(crate) fn a_receiver_that_refuses_descriptors_is_told_from_one_that_is_gone() {
    const SO_PASSRIGHTS: libc::c_int = 83;
    let null = File::open("/dev/null").unwrap();
    let (mut left, mut right) = Stream::pair().unwrap();
    let (off, len) = (0_i32, libc::socklen_t::try_from(size_of::<i32>()).unwrap());
    let fd = right.as_fd().as_raw_fd();
    let value = (&raw const off).cast();
    // SAFETY: the kernel reads the value, which outlives the call, and the length is right.
    let result = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, SO_PASSRIGHTS, value, len) };
    if result != 0 {
        skip("SO_PASSRIGHTS", "a kernel of version 6.16 or later");
    }
    let refused = left.send_with(&[b"x"], &[null.as_fd()]);
    let error = SystemError { call: "sendmsg", errno: Errno(libc::EPERM) };
    assert_eq!(refused, Err(TransportError::FdsRefused(error)));
    assert_eq!(left.send(&[b"bytes pass"]), Ok(Some(10)));
    assert_eq!(right.receive(&mut [0; 16]), Ok(Some(10)));
}
