//! The start of a worker, and what its process keeps.

use ipc_tests::over;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use ipc_frame::Kind;
use ipc_tests::fds;
use ipc_tests::wire::RawHeader;
use ipc_worker::{
    Call, Ended, Errno, Handler, How, Reason, Refusal, Reply, Request, Restart, StartError, Why,
    Worker,
};
use rustix::process::Signal;

use crate::handler::*;

pub(crate) fn the_child_keeps_only_its_own_descriptors() {
    let file = File::open("/dev/null").unwrap();
    let kept = File::open("/dev/zero").unwrap();
    let start = over::fork_with(&[kept.as_fd()], handle);
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

#[expect(unsafe_code, reason = "closes the standard streams, which nothing owns")]
fn close(fd: i32) {
    // SAFETY: this case uses none of them afterwards.
    unsafe { rustix::io::close(fd) };
}

pub(crate) fn a_failing_set_up_arrives_with_stage_and_number() {
    struct Unready;
    impl Handler for Unready {
        fn prepare(&mut self) -> Result<(), Reason> {
            Err(std::io::Error::from_raw_os_error(libc::EACCES).into())
        }
        fn handle(&mut self, _: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> {
            Ok(())
        }
    }
    let before = fds::open();
    let started = Worker::<u32, _>::start(over::fork(Unready));
    let Err(StartError::Failed(reason)) = started else { panic!("it started") };
    assert_eq!((reason.stage.as_str(), reason.errno.0), ("prepare", libc::EACCES));
    assert_eq!(reason.text.as_str(), "");
    drop(started);
    assert_eq!(fds::open(), before);
    assert!(fds::children().is_empty(), "no process is left");
}

pub(crate) fn too_many_descriptors_are_a_failure_of_that_stage() {
    let null = File::open("/dev/null").unwrap();
    let before = fds::open();
    drop(Worker::<u32, _>::start(over::fork_with(&[null.as_fd(); 63], handle)).unwrap());
    let started = Worker::<u32, _>::start(over::fork_with(&[null.as_fd(); 64], handle));
    let Err(StartError::Failed(reason)) = started else { panic!("it started") };
    assert_eq!((reason.stage.as_str(), reason.errno.0), ("descriptors", libc::EMFILE));
    assert_eq!(fds::open(), before);
}

/// Sends bytes to main before its own first frame, and then does something else.
struct Hostile {
    first: Vec<u8>,
    then: fn(),
}

impl Handler for Hostile {
    fn prepare(&mut self) -> Result<(), Reason> {
        rustix::io::write(fds::own_socket(), &self.first)?;
        (self.then)();
        Ok(())
    }

    fn handle(&mut self, _: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Starts a worker that begins like this, which must fail, and returns the error.
fn hostile(first: &[u8], then: fn()) -> StartError {
    hostile_within(first, then, Duration::from_secs(20))
}

fn hostile_within(first: &[u8], then: fn(), within: Duration) -> StartError {
    let before = fds::open();
    let start = over::fork(Hostile { first: first.to_vec(), then });
    let start = start.ready_within(within);
    let Err(error) = Worker::<u32, _>::start(start) else { panic!("it started") };
    assert_eq!(fds::open(), before, "{error}");
    assert!(fds::children().is_empty(), "no process is left: {error}");
    error
}

fn sleep() {
    std::thread::sleep(Duration::from_secs(600));
}

/// Returns a frame with this payload, as any peer may send it.
fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    let header = RawHeader { len, kind: kind as u8, ..RawHeader::default() };
    [&header.bytes(), payload].concat()
}

pub(crate) fn a_hostile_first_frame_is_an_error_and_no_process_is_left() {
    let ready = |numbers: [u32; 3]| numbers.map(u32::to_le_bytes).concat();
    for first in [
        vec![0xee; 100],
        frame(Kind::Reply, b""),
        frame(Kind::Done, b""),
        frame(Kind::Request, b"do this"),
        frame(Kind::Ready, b""),
        frame(Kind::Ready, &[1, 0]),
        frame(Kind::Ready, &ready([1, 64, 32768])[..11]),
        frame(Kind::Ready, &[&ready([1, 64, 32768])[..], &[0]].concat()),
        frame(Kind::Ready, &[&ready([1, 64, 32768])[..], &[0; 8], &[200], b"x"].concat()),
        frame(Kind::Ready, &[&ready([1, 64, 32768])[..], &[0; 9], &[b'x'; 41]].concat()),
        frame(Kind::Failed, b""),
        frame(Kind::Failed, &[5, 0, 0, 0, 200, 200, b'x']),
        frame(Kind::Failed, &[b'x'; 20_000]),
    ] {
        let start = first.get(..32).unwrap_or(&first).to_vec();
        assert_eq!(hostile(&first, sleep), StartError::Malformed, "{start:?}");
    }
    for (numbers, what, ours, theirs) in [
        ([2, 64, 32768], "version", 1, 2),
        ([1, 1, 32768], "slots", 64, 1),
        ([1, 64, u32::MAX], "bytes", 32768, u32::MAX),
    ] {
        let error = hostile(&frame(Kind::Ready, &ready(numbers)), sleep);
        assert_eq!(error, StartError::Mismatch { what, ours, theirs });
    }
    let failed = hostile(&frame(Kind::Failed, &[5, 0, 0, 0, 1, 2, b'7', b'n', b'o']), sleep);
    assert_eq!(failed, StartError::Failed(Reason::new("7", Errno(5), "no")));
    let garbled = hostile(&frame(Kind::Failed, &[5, 0, 0, 0, 1, 2, 0xff, b'n', 0xff]), sleep);
    // Invalid UTF-8 is not read.
    let StartError::Failed(Reason { stage, errno, text, .. }) = garbled else {
        panic!("{garbled:?}")
    };
    assert_eq!((stage.as_str(), errno, text.as_str()), ("", Errno(5), "n"));
}

pub(crate) fn a_child_that_dies_or_hangs_amid_its_first_frame_is_told_as_that() {
    let whole = frame(Kind::Failed, b"a payload");
    for len in [0, 1, 23, 24, whole.len() - 1] {
        let part = whole.get(..len).unwrap();
        let late = hostile_within(part, sleep, Duration::from_millis(200));
        assert_eq!(late, StartError::TimedOut, "{len}");
        let died = StartError::Died(Ended::Exited(7));
        assert_eq!(hostile(part, || ipc_barrier::exit(7)), died, "{len}");
    }
    fn kill() {
        _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    }
    assert_eq!(hostile(b"", kill), StartError::Died(Ended::Killed(9)));
}

/// Its `prepare` succeeds as often as its file allows: each worker writes a byte to it.
struct Fading(File);

impl Handler for Fading {
    fn prepare(&mut self) -> Result<(), Reason> {
        rustix::io::write(&self.0, b"x")?;
        if self.0.metadata()?.len() > 1 { Err(Refusal::new(28, "no more").into()) } else { Ok(()) }
    }

    fn handle(&mut self, _: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> {
        ipc_barrier::exit(3)
    }

    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [self.0.as_fd()].into_iter()
    }
}

pub(crate) fn a_restart_that_fails_is_told_with_its_reason() {
    let fading = Fading(tempfile::tempfile().unwrap());
    let restart = Restart::STANDARD.delay(Duration::ZERO).limit(2);
    let mut worker = Worker::<u32, _>::start(over::fork(fading).restart(restart)).unwrap();
    worker.try_call(Call::new(ECHO, &[]), 1).unwrap();
    worker.try_call(Call::new(ECHO, &[]), 2).unwrap();
    let list = turn_until(&mut worker, |list| matches!(list.last(), Some(Told::GaveUp(_))));
    let ended = [Told::Died(Ended::Exited(3)), Told::Lost(1, How::Running)];
    assert_eq!(list[..2], ended);
    // The restart fails twice, without a third attempt.
    let Told::NotStarted(reason) = &list[2] else { panic!("{list:?}") };
    assert!(reason.contains("prepare"), "{reason}");
    assert_eq!(list[3], Told::Lost(2, How::NotBegun));
    let Told::GaveUp(reason) = &list[4] else { panic!("{list:?}") };
    assert!(reason.contains("ended 3 times") && reason.contains("prepare"), "{reason}");
    assert!(worker.has_room(), "a call is answered at once");
    assert_eq!(worker.try_call(Call::new(ECHO, &[]), 3).unwrap_err().why, Why::Stopped);
    assert!(fds::children().is_empty());
}

pub(crate) fn a_start_that_hangs_is_killed_at_its_deadline() {
    struct Hung;
    impl Handler for Hung {
        fn prepare(&mut self) -> Result<(), Reason> {
            std::thread::sleep(Duration::from_secs(600));
            Ok(())
        }
        fn handle(&mut self, _: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> {
            Ok(())
        }
    }
    let start = over::fork(Hung).ready_within(Duration::from_millis(50));
    let Err(error) = Worker::<u32, _>::start(start) else { panic!("it started") };
    assert_eq!(error, StartError::TimedOut);
    assert!(fds::children().is_empty(), "no process is left");
}

pub(crate) fn a_second_thread_is_a_clear_refusal() {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || _ = wait.recv());
    let Err(error) = Worker::<u32, _>::start(over::fork(handle)) else { panic!("it started") };
    assert_eq!(
        error.to_string(),
        "cannot fork: this process has 2 threads; fork before any, or exec"
    );
    drop(done);
    thread.join().unwrap();
    drop(worker());
}
