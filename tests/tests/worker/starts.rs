//! The start of a worker, and what its process keeps.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use ipc_tests::fds;
use ipc_worker::{Call, Handler, Refusal, Reply, Request, Start, StartError, Worker};

use crate::handler::*;

pub(crate) fn the_child_keeps_only_its_own_descriptors() {
    let file = File::open("/dev/null").unwrap();
    let kept = File::open("/dev/zero").unwrap();
    let start = Start::fork_with(&[kept.as_fd()], handle);
    let mut worker = Worker::<u32, _>::start(start).unwrap();
    worker.try_call(Call::new(OPEN_FDS, &[]), 1).unwrap();
    let list = turn_until(&mut worker, |list| !list.is_empty());
    let Told::Reply(_, bytes) = &list[0] else { panic!("{list:?}") };
    let text = String::from_utf8(bytes.clone()).unwrap();
    let open: Vec<&str> = text.trim_matches(['[', ']']).split(", ").collect();
    assert_eq!(open.len(), 5, "0, 1, 2, the kept one and the socket: {text}");
    assert!(open.contains(&kept.as_raw_fd().to_string().as_str()));
    assert!(!open.contains(&file.as_raw_fd().to_string().as_str()));
}

pub(crate) fn with_standard_streams_closed_nothing_lands_there() {
    for fd in 0..3 {
        close(fd);
    }
    let mut worker = worker();
    let Told::Reply(_, bytes) = call(&mut worker, OPEN_FDS, b"") else { ipc_barrier::exit(1) };
    let in_child = String::from_utf8(bytes).unwrap();
    if !in_child.starts_with("[0, 1, 2, ") || fds::open().iter().any(|&fd| fd < 3) {
        ipc_barrier::exit(1);
    }
}

#[expect(unsafe_code, reason = "closing the standard streams, which nobody owns")]
fn close(fd: i32) {
    // SAFETY: this case uses none of them afterwards.
    unsafe { rustix::io::close(fd) };
}

pub(crate) fn a_failing_set_up_arrives_with_stage_and_number() {
    struct Unready;
    impl Handler for Unready {
        fn prepare(&mut self) -> Result<(), Refusal> {
            Err(std::io::Error::from_raw_os_error(libc::EACCES).into())
        }
        fn handle(&mut self, _: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> {
            Ok(())
        }
    }
    let before = fds::open();
    let started = Worker::<u32, _>::start(Start::fork(Unready));
    let Err(StartError::Failed(reason)) = started else { panic!("it started") };
    assert_eq!((reason.stage.as_str(), reason.errno.0), ("prepare", libc::EACCES));
    assert_eq!(reason.text.as_str(), "EACCES");
    drop(started);
    assert_eq!(fds::open(), before);
    assert!(fds::children().is_empty(), "no process is left");
}

pub(crate) fn a_start_that_hangs_is_killed_at_its_deadline() {
    struct Hung;
    impl Handler for Hung {
        fn prepare(&mut self) -> Result<(), Refusal> {
            std::thread::sleep(Duration::from_secs(600));
            Ok(())
        }
        fn handle(&mut self, _: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> {
            Ok(())
        }
    }
    let start = Start::fork(Hung).ready_within(Duration::from_millis(50));
    let Err(error) = Worker::<u32, _>::start(start) else { panic!("it started") };
    assert_eq!(error, StartError::TimedOut);
    assert!(fds::children().is_empty(), "no process is left");
}

pub(crate) fn a_second_thread_is_a_clear_refusal() {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || _ = wait.recv());
    let Err(error) = Worker::<u32, _>::start(Start::fork(handle)) else { panic!("it started") };
    assert_eq!(error.to_string(), "cannot fork with 2 threads; fork before starting others");
    drop(done);
    thread.join().unwrap();
    drop(worker());
}
