//! Descriptors over a ring, which go ahead of their bytes over its socket.

use std::os::fd::{AsFd, OwnedFd};

use ipc_tests::fds::{Fds, file, id_of};
use ipc_tests::seccomp::refuse_at_first;
use ipc_transport::laws::parts::patiently;
use ipc_transport::{
    Instant, Interest, PassFds, Ring, RingEnd, SharedPage, Side, Stream, Transport, TransportError,
    Watched, wait,
};
use rustix::net::sockopt::set_socket_send_buffer_size;

/// Receives once: the ids of the descriptors that came, or `None` if nothing came.
fn receive(from: &mut impl PassFds) -> Option<Vec<u64>> {
    let mut list = Fds::default();
    from.receive_with(&mut [0; 64], &mut list.fds()).unwrap()?;
    Some(list.iter().map(id_of).collect())
}

/// Sends a byte with the descriptor, again while the system is short of memory.
fn send(to: &mut Ring, file: &OwnedFd) {
    let sent = patiently(|| match to.send_with(&[b"x"], &[file.as_fd()]) {
        Err(TransportError::Exhausted(_)) => None,
        sent => Some(sent),
    });
    assert_eq!(sent, Ok(Some(1)));
}

/// The receiver took the descriptors of the next bytes for the bell of these, without looking. All
/// later bytes then got the descriptors of the bytes after them.
pub(crate) fn repro_each_byte_brings_its_own_descriptor_after_bells_that_found_no_memory() {
    let (mut left, mut right) = Ring::pair(1024).unwrap();
    let files = [file(), file(), file()];
    assert_eq!(receive(&mut right), None, "it lets the socket show the next input");
    refuse_at_first(libc::SYS_sendto, libc::ENOBUFS, 3);
    assert_eq!(left.send(&[b"plain"]), Ok(Some(5)));
    files.iter().for_each(|file| send(&mut left, file));
    assert_eq!(receive(&mut right), Some(vec![]));
    for file in &files {
        assert_eq!(receive(&mut right), Some(vec![id_of(file)]));
    }
}

/// A hundred unread bells hid the descriptors behind them.
pub(crate) fn repro_descriptors_come_after_any_number_of_bells() {
    let (mut left, mut right) = Ring::pair(64).unwrap();
    let file = file();
    // The left side only sends. Each time that there is room again, the right side rings.
    for _ in 0..150 {
        while left.send(&[&[0; 64]]).unwrap().is_some() {}
        while receive(&mut right).is_some() {}
    }
    send(&mut right, &file);
    assert_eq!(receive(&mut left), Some(vec![id_of(&file)]));
}

/// Waits until the left side shows that it can send again, while the right side receives all.
fn shows_room(left: &mut Ring, mut receive_all: impl FnMut()) {
    let file = file();
    assert_eq!(left.send_with(&[b"x"], &[file.as_fd()]), Ok(None), "the socket is full");
    receive_all();
    let mut watched = [Watched::new(left.as_fd(), Interest::Input)];
    let limit = Instant::now() + std::time::Duration::from_secs(10);
    assert!(wait(&mut watched, Some(limit)).unwrap(), "a sender would wait for ever");
    assert_eq!(left.send_with(&[b"x"], &[file.as_fd()]), Ok(Some(1)));
}

/// The ring had room, so the sender was not woken.
pub(crate) fn repro_a_socket_full_of_descriptors_shows_when_there_is_room() {
    let file = file();
    for waits in [false, true] {
        let (mut left, mut right) = Ring::pair(4096).unwrap();
        set_socket_send_buffer_size(&left, 1).unwrap();
        let mut count = 0;
        while left.send_with(&[b"x"], &[file.as_fd()]).unwrap().is_some() {
            count += 1;
        }
        assert!((2..100).contains(&count), "{count} chunks are not a full ring");
        shows_room(&mut left, || {
            for _ in 0..count {
                let came = if waits { receive(&mut right.blocking()) } else { receive(&mut right) };
                assert_eq!(came, Some(vec![id_of(&file)]));
            }
        });
    }
}

/// The socket can also be full of bells, if the peer has only sent for a long time. Then there are
/// no bytes whose end would wake the sender.
pub(crate) fn repro_a_socket_full_of_bells_shows_when_there_is_room() {
    let (mut left, mut right) = Ring::pair(64).unwrap();
    set_socket_send_buffer_size(&left, 1).unwrap();
    for _ in 0..150 {
        while right.send(&[&[0; 64]]).unwrap().is_some() {}
        while receive(&mut left).is_some() {}
    }
    shows_room(&mut left, || assert_eq!(receive(&mut right), None));
}

/// A receive took the bell that said so, and nothing showed that there was room.
pub(crate) fn repro_a_bell_for_room_that_a_receive_takes_calls_for_another_look() {
    let (left, right) = Stream::pair().unwrap();
    set_socket_send_buffer_size(&left, 1).unwrap();
    let page = SharedPage::new(RingEnd::page_len(4096)).unwrap();
    let (mut sender, mut receiver) = (RingEnd::new(Side::First), RingEnd::new(Side::Second));
    let file = file();
    let send = |end: &mut RingEnd| {
        end.link(left.as_fd(), page.words(), None).send_with(&[b"x"], &[file.as_fd()]).unwrap()
    };
    while send(&mut sender).is_some() {}
    while receive(&mut receiver.link(right.as_fd(), page.words(), None)).is_some() {}
    assert_eq!(receive(&mut sender.link(left.as_fd(), page.words(), None)), None);
    assert!(!sender.shows(), "it has room, and has to look again");
    assert_eq!(send(&mut sender), Some(1));
    assert_eq!(receive(&mut sender.link(left.as_fd(), page.words(), None)), None);
    assert!(sender.shows());
}
