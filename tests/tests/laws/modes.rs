//! A byte pair on descriptors that other processes share, and on older kernels.

#![expect(unsafe_code, reason = "closes a standard stream and sets an alarm")]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use ipc_tests::seccomp::refuse;
use ipc_transport::{BytePair, Transport, TransportError};
use rustix::fs::{OFlags, fcntl_getfl};

use crate::pairs;
use ipc_transport::laws;

pub(crate) fn the_mode_of_a_shared_description_is_never_changed() {
    for pair in [pairs::pipes, pairs::tcp, pairs::terminal] {
        let (mut left, mut right) = pair();
        for _ in 0..3 {
            left.send(&[b"x"]).unwrap();
            right.receive(&mut [0; 8]).unwrap();
            for end in [&left, &right] {
                for fd in [end.input(), end.output()] {
                    assert!(!fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK));
                }
            }
        }
    }
}

/// Each call offers more than ever fits, so a call that waits would never return.
pub(crate) fn large_offers_to_blocking_descriptors_do_not_wait() {
    let bytes = vec![7; 300_000];
    for pair in [pairs::pipes, pairs::tcp, pairs::terminal] {
        // SAFETY: no memory is involved; the signal ends a case that hangs.
        unsafe { libc::alarm(10) };
        let (mut left, _right) = pair();
        let mut sent = 0;
        while let Some(len) = left.send(&[&bytes]).unwrap() {
            sent += len;
        }
        assert!(sent > 1_000, "{sent}");
    }
}

pub(crate) fn pipes_do_without_newer_calls() {
    refuse(&[libc::SYS_pwritev2], libc::ENOSYS);
    laws::bytes_arrive_in_order_none_twice_none_missing(pairs::pipes);
    laws::a_sender_told_of_the_end_still_receives_and_gets_no_signal(pairs::pipes);
}

pub(crate) fn pipes_do_with_refused_calls() {
    refuse(&[libc::SYS_pwritev2], libc::EPERM);
    laws::bytes_arrive_in_order_none_twice_none_missing(pairs::pipes);
}

pub(crate) fn descriptors_lie_above_the_standard_streams() {
    let (input, output) = std::io::pipe().unwrap();
    // SAFETY: nothing in this case reads the standard input.
    let stdin = unsafe { OwnedFd::from_raw_fd(0) };
    drop(stdin);
    let low: OwnedFd = rustix::io::dup(&input).unwrap();
    assert_eq!(low.as_raw_fd(), 0);
    let mut pair = BytePair::new(low, output.into()).unwrap();
    assert!(pair.input().as_raw_fd() > 2);
    drop(input);
    assert_eq!(pair.send(&[b"word"]), Ok(Some(4)));
    assert_eq!(pair.receive(&mut [0; 8]), Ok(Some(4)));
}

pub(crate) fn what_cannot_be_written_to_is_the_systems_error() {
    let (input, output) = std::io::pipe().unwrap();
    let mut swapped = BytePair::new(output.into(), input.into()).unwrap();
    let refused = swapped.send(&[b"word"]);
    assert!(!matches!(refused, Ok(Some(_)) | Err(TransportError::Closed)), "{refused:?}");
    assert!(swapped.input().as_fd().as_raw_fd() > 2);
}
