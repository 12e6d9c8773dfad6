//! Descriptors over a ring, which go ahead of their bytes over its socket.

use std::os::fd::{AsFd, OwnedFd};

use ipc_tests::fds::{Fds, file, id_of};
use ipc_tests::seccomp::refuse_at_first;
use ipc_transport::laws::parts::patiently;
use ipc_transport::{PassFds, Ring, Transport, TransportError};

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
