//! Closing all descriptors except those listed.

use std::os::fd::{AsRawFd, OwnedFd};

use ipc_barrier::process::{close_all_but, detach_all_but};
use ipc_tests::{fds, seccomp};

/// Opens a few hundred descriptors, keeps some, and returns what is open afterwards.
fn kept_of(keep: &[usize]) {
    let null = std::fs::File::open("/dev/null").unwrap();
    let open: Vec<OwnedFd> = (0..600).map(|_| null.try_clone().unwrap().into()).collect();
    let mut list: Vec<i32> = keep.iter().map(|&index| open[index].as_raw_fd()).collect();
    let mut expected = list.clone();
    list.extend([0, 2, 2]);
    expected.extend([0, 1, 2]);
    expected.sort_unstable();
    expected.dedup();
    // SAFETY: every owner of a descriptor is forgotten.
    unsafe { close_all_but(&list) }.unwrap();
    std::mem::forget((null, open));
    assert_eq!(fds::open(), expected);
}

pub(crate) fn every_descriptor_but_the_listed_is_closed() {
    kept_of(&[599, 7, 3, 3, 8, 300, 0]);
}

pub(crate) fn with_nothing_listed_only_the_standard_streams_stay() {
    kept_of(&[]);
}

pub(crate) fn without_close_range_the_same_are_closed() {
    seccomp::refuse(&[libc::SYS_close_range], libc::EPERM);
    kept_of(&[599, 7, 3, 3, 8, 300, 0]);
    kept_of(&[]);
}

/// The file is closed, but its number stays taken, so that no other file gets it.
pub(crate) fn a_detached_descriptor_keeps_its_number_and_nothing_else() {
    let null = std::fs::File::open("/dev/null").unwrap();
    let open: Vec<OwnedFd> = (0..600).map(|_| null.try_clone().unwrap().into()).collect();
    let kept = open[300].as_raw_fd();
    detach_all_but(&[kept]).unwrap();
    assert_eq!(fds::open(), [0, 1, 2, kept]);
    let later: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    assert!(open.iter().all(|fd| fd.as_raw_fd() != later.as_raw_fd()));
    for fd in open.iter().filter(|fd| fd.as_raw_fd() != kept) {
        assert_eq!(rustix::io::write(fd, b"x"), Err(rustix::io::Errno::BADF));
        assert_eq!(rustix::io::read(fd, &mut [0; 4][..]), Err(rustix::io::Errno::BADF));
        assert!(fds::is_cloexec(fd));
    }
    let path = rustix::fs::openat(&open[0], "status", rustix::fs::OFlags::RDONLY, 0.into());
    assert_eq!(path.unwrap_err(), rustix::io::Errno::NOTDIR);
}

pub(crate) fn repro_where_a_sandbox_refuses_prlimit_the_others_are_detached_all_the_same() {
    seccomp::refuse(&[libc::SYS_prlimit64], libc::EPERM);
    a_detached_descriptor_keeps_its_number_and_nothing_else();
}
