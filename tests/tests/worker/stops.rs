//! Intended ends.

use ipc_tests::over;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_barrier::Fork;
use ipc_tests::fds;
use ipc_worker::{Call, Ended, How, Instant, Worker};

use crate::handler::*;

pub(crate) fn stop_delivers_every_outcome() {
    let mut worker = worker();
    for tag in 0..20 {
        worker.try_call(Call::new(ECHO, &[b"x"]), tag).unwrap();
    }
    let mut list = Vec::new();
    let ended = worker.stop(soon(), |event| list.push(told(event)));
    assert_eq!(ended, Some(Ended::Exited(0)));
    let expected: Vec<Told> = (0..20).map(|tag| Told::Reply(tag, b"x".to_vec())).collect();
    assert_eq!(list, expected);
    assert!(fds::children().is_empty());
}

pub(crate) fn stop_kills_at_the_deadline_and_tells_what_is_lost() {
    let mut worker = worker();
    worker.try_call(Call::new(SLEEP_MS, &[&LONG]), 1).unwrap();
    worker.try_call(Call::new(ECHO, &[b"x"]), 2).unwrap();
    let mut list = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(1);
    let ended = worker.stop(deadline, |event| list.push(told(event)));
    assert_eq!(ended, Some(Ended::Killed(9)));
    assert_eq!(list, [Told::Lost(1, How::Running), Told::Lost(2, How::NotBegun)]);
    assert!(fds::children().is_empty());
}

pub(crate) fn a_worker_whose_main_is_killed_finishes_and_exits() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let (alive, ours) = UnixStream::pair().unwrap();
    let mut main = match ipc_barrier::fork().unwrap() {
        Fork::Parent(child) => child,
        Fork::Child(_guard) => {
            let start = over::fork_with(&[ours.as_fd()], handle);
            let mut worker = Worker::<u32, _>::start(start).unwrap();
            for byte in b"abcdefghij" {
                let fds = [file.as_file().as_fd()];
                let pieces = [core::slice::from_ref(byte)];
                worker.try_call(Call::new(APPEND_BYTE, &pieces).fds(&fds), 0).unwrap();
            }
            worker.turn(Instant::now());
            let pid = rustix::process::getpid();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            unreachable!("killed");
        }
    };
    drop(ours);
    assert_eq!(main.wait_until(soon()).unwrap(), Ended::Killed(9));
    // The worker holds the other end of `alive` until it exits.
    alive.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!((&alive).read(&mut [0; 1]).unwrap(), 0);
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "abcdefghij");
}

pub(crate) fn signals_to_the_group_do_not_end_the_worker() {
    let mut worker = worker();
    let pid = rustix::process::Pid::from_raw(worker.pid().unwrap()).unwrap();
    use rustix::process::Signal;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::PIPE] {
        rustix::process::kill_process(pid, signal).unwrap();
    }
    assert_eq!(call(&mut worker, ECHO, b"here"), Told::Reply(0, b"here".to_vec()));
}

pub(crate) fn dropping_a_worker_ends_its_process() {
    let before = fds::open();
    let mut left = 0;
    for round in 0..20 {
        let mut worker = worker();
        // Including a worker that is busy or has just died.
        let method = if round % 2 == 0 { UNTIL_CANCELLED } else { EXIT };
        worker.try_call(Call::new(method, &[]), 1).unwrap();
        worker.turn(Instant::now());
        let begin = Instant::now();
        drop(worker);
        let time = Instant::now().since(begin);
        // On a busy machine it may take longer to exit than main waits.
        let is_late = fds::children().len() > left;
        assert!(!is_late || time >= Duration::from_millis(20), "left after {time:?}");
        left += usize::from(is_late);
    }
    assert!(left < 20, "every worker was left behind");
    assert_eq!(fds::open(), before);
}
