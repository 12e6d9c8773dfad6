//! The worker across two real processes: outcomes, deaths, restarts, the end.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_barrier::Fork;
use ipc_tests::{cases, fds};
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{
    Again, Call, Ended, Event, Handler, Instant, Lost, NotTaken, Outcome, Refusal, Reply, Request,
    Restart, Start, StartError, Why, Worker,
};

const ECHO: u16 = 1;
const REFUSE: u16 = 2;
const WRITE: u16 = 3;
const SLEEP_MS: u16 = 4;
const EXIT: u16 = 5;
const PANIC: u16 = 6;
const FDS: u16 = 7;
const PID: u16 = 8;
const OPEN_FDS: u16 = 9;
const PIPE: u16 = 10;
const APPEND_BYTE: u16 = 11;

fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    match request.method() {
        ECHO => reply.put(request.bytes()),
        REFUSE => Err(Refusal::new(42, "not today")),
        WRITE => {
            let mut file = File::from(request.take_fd().ok_or(Refusal::new(1, "no fd"))?);
            file.write_all(request.bytes())?;
            Ok(())
        }
        SLEEP_MS => {
            let time = u64::from_le_bytes(request.bytes().try_into().unwrap());
            std::thread::sleep(Duration::from_millis(time));
            reply.put(b"slept")
        }
        EXIT => ipc_barrier::exit(3),
        PANIC => panic!("on purpose"),
        FDS => {
            let mut count = 0_u32;
            while request.take_fd().is_some() {
                count += 1;
            }
            reply.put(&count.to_le_bytes())
        }
        PID => reply.put(&std::process::id().to_le_bytes()),
        OPEN_FDS => reply.put(format!("{:?}", fds::open()).as_bytes()),
        PIPE => {
            let (mut ours, theirs) = UnixStream::pair()?;
            ours.write_all(request.bytes())?;
            reply.put_fd(theirs.into())
        }
        APPEND_BYTE => {
            let mut file = File::from(request.take_fd().ok_or(Refusal::new(1, "no fd"))?);
            file.write_all(&request.bytes()[..1])?;
            std::thread::sleep(Duration::from_millis(2));
            Ok(())
        }
        _ => Err(Refusal::UNKNOWN_METHOD),
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn worker() -> Worker<u32> {
    Worker::<u32>::start(Start::fork(handle)).unwrap()
}

/// What an event says, with nothing borrowed.
#[derive(Debug, PartialEq)]
enum Told {
    Reply(u32, Vec<u8>),
    Refused(u32, i32),
    Lost(u32, Lost),
    Late(u32),
    Cancelled(u32),
    Died(Ended),
    Started(usize),
    GaveUp(String),
}

fn told(event: Event<'_, u32>) -> Told {
    match event {
        Event::Done { tag, outcome } => match outcome {
            Outcome::Reply(reply) => Told::Reply(tag, reply.bytes().to_vec()),
            Outcome::Refused(refusal) => Told::Refused(tag, refusal.code),
            Outcome::Lost(lost) => Told::Lost(tag, lost),
            Outcome::DeadlinePassed => Told::Late(tag),
            Outcome::Cancelled => Told::Cancelled(tag),
        },
        Event::Died(ended) => Told::Died(ended),
        Event::Started { resent } => Told::Started(resent),
        Event::GaveUp(reason) => Told::GaveUp(reason.to_string()),
    }
}

/// Turns until `enough` events were told.
fn turn_until<H: Handler, const S: usize, const B: usize>(
    worker: &mut Worker<u32, H, S, B>,
    mut enough: impl FnMut(&[Told]) -> bool,
) -> Vec<Told> {
    let limit = soon();
    let mut list = Vec::new();
    loop {
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            list.push(told(event));
        }
        if enough(&list) {
            return list;
        }
        assert!(Instant::now() < limit, "not enough in time: {list:?}");
        let deadline = worker.next_deadline().map_or(limit, |next| next.min(limit));
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(deadline)).unwrap();
    }
}

/// Makes one call and returns its outcome.
fn call(worker: &mut Worker<u32>, method: u16, bytes: &[u8]) -> Told {
    let mut outcome = None;
    worker
        .call_until(Call::new(method, &[bytes]), 0, soon(), |event| match told(event) {
            Told::Died(_) | Told::Started(_) => {}
            other => outcome = Some(other),
        })
        .unwrap();
    outcome.unwrap()
}

fn blocking_call_gets_its_reply() {
    let mut worker = worker();
    assert_eq!(call(&mut worker, ECHO, b"hello"), Told::Reply(0, b"hello".to_vec()));
    assert_eq!(call(&mut worker, ECHO, b""), Told::Reply(0, Vec::new()));
    assert_eq!(call(&mut worker, REFUSE, b""), Told::Refused(0, 42));
    assert_eq!(call(&mut worker, 999, b""), Told::Refused(0, Refusal::UNKNOWN_METHOD.code));
    assert_eq!(worker.stop(soon(), |_| ()), Some(Ended::Exited(0)));
    assert!(fds::children().is_empty());
}

fn handler_runs_in_another_process() {
    let mut worker = worker();
    let pid = worker.pid().unwrap();
    assert_eq!(call(&mut worker, PID, b""), Told::Reply(0, pid.to_le_bytes().to_vec()));
    assert_ne!(u32::try_from(pid).unwrap(), std::process::id());
}

fn replies_come_in_request_order() {
    let mut worker = worker();
    for round in 0..50 {
        let mut made = 0;
        while worker.has_room() {
            let bytes = vec![u8::try_from(made).unwrap(); made * 7];
            worker.try_call(Call::new(ECHO, &[&bytes]), u32::try_from(made).unwrap()).unwrap();
            made += 1;
        }
        assert!(made >= 32, "round {round}: {made}");
        let list = turn_until(&mut worker, |list| list.len() == made);
        for (index, told) in list.into_iter().enumerate() {
            let bytes = vec![u8::try_from(index).unwrap(); index * 7];
            assert_eq!(told, Told::Reply(u32::try_from(index).unwrap(), bytes));
        }
    }
    assert_eq!(worker.stray_replies(), 0);
}

fn descriptors_reach_the_handler_and_come_back() {
    let mut worker = worker();
    let mut file = tempfile::tempfile().unwrap();
    let fds = [file.as_fd()];
    let mut outcome = None;
    let pieces: [&[u8]; 3] = [b"one ", b"two ", b"three"];
    let call = Call::new(WRITE, &pieces).fds(&fds);
    worker.call_until(call, 1, soon(), |event| outcome = Some(told(event))).unwrap();
    assert_eq!(outcome, Some(Told::Reply(1, Vec::new())));
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one two three");

    let mut fd = None;
    worker
        .call_until(Call::new(PIPE, &[b"through a new socket"]), 2, soon(), |event| {
            if let Event::Done { outcome: Outcome::Reply(mut reply), .. } = event {
                fd = reply.take_fd();
            }
        })
        .unwrap();
    let mut text = String::new();
    UnixStream::from(fd.unwrap()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "through a new socket");
}

fn as_many_descriptors_as_a_message_carries() {
    let mut worker = worker();
    let before = fds::open().len();
    let null = File::open("/dev/null").unwrap();
    for count in [0_u32, 1, 2, 3, 100, 252, 253] {
        let fds = vec![null.as_fd(); usize::try_from(count).unwrap()];
        let mut outcome = None;
        worker
            .call_until(Call::new(FDS, &[b"x"]).fds(&fds), count, soon(), |event| {
                outcome = Some(told(event));
            })
            .unwrap();
        assert_eq!(outcome, Some(Told::Reply(count, count.to_le_bytes().to_vec())));
    }
    let fds = vec![null.as_fd(); 254];
    let refused = worker.try_call(Call::new(FDS, &[b"x"]).fds(&fds), 9).unwrap_err();
    let why = Why::TooManyFds { count: 254, capacity: 253 };
    assert_eq!(refused, NotTaken { tag: 9, why });
    drop(null);
    assert_eq!(fds::open().len(), before, "all duplicates are closed");
}

fn what_is_not_taken_comes_back_with_its_reason() {
    let mut worker =
        Worker::<u32, _, 2, 512>::start(Start::fork(handle as ipc_worker::HandlerFn)).unwrap();
    let long = [0; 600];
    let refused = worker.try_call(Call::new(ECHO, &[&long]), 5).unwrap_err();
    assert_eq!(refused, NotTaken { tag: 5, why: Why::TooLong { len: 600, capacity: 488 } });
    worker.try_call(Call::new(ECHO, &[b"a"]), 1).unwrap();
    worker.try_call(Call::new(ECHO, &[b"b"]), 2).unwrap();
    assert!(!worker.has_room());
    let refused = worker.try_call(Call::new(ECHO, &[b"c"]), 3).unwrap_err();
    assert_eq!(refused, NotTaken { tag: 3, why: Why::Full });
    assert_eq!(turn_until(&mut worker, |list| list.len() == 2).len(), 2);
    worker.stop(soon(), |_| ());
    let refused = worker.try_call(Call::new(ECHO, &[b"d"]), 4).unwrap_err();
    assert_eq!(refused, NotTaken { tag: 4, why: Why::Stopped });
}

fn try_call_duplicates_nothing_where_no_descriptor_is_left() {
    let mut worker = worker();
    let null = File::open("/dev/null").unwrap();
    let mut hoard: Vec<OwnedFd> = Vec::new();
    rlimit_nofile(64);
    while let Ok(fd) = null.as_fd().try_clone_to_owned() {
        hoard.push(fd);
    }
    let fds = [null.as_fd(), null.as_fd()];
    let refused = worker.try_call(Call::new(FDS, &[b""]).fds(&fds), 7).unwrap_err();
    assert!(matches!(refused, NotTaken { tag: 7, why: Why::NoFdLeft(_) }), "{refused:?}");
    hoard.clear();
    assert_eq!(call(&mut worker, ECHO, b"goes on"), Told::Reply(0, b"goes on".to_vec()));
}

fn rlimit_nofile(limit: u64) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum: Some(limit) }).unwrap();
}

fn death_is_an_event_and_the_next_worker_answers() {
    let mut worker = worker();
    worker.try_call(Call::new(EXIT, &[]), 1).unwrap();
    worker.try_call(Call::new(ECHO, &[b"after"]), 2).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == 4);
    let expected = [
        Told::Died(Ended::Exited(3)),
        Told::Lost(1, Lost::Running),
        Told::Started(1),
        Told::Reply(2, b"after".to_vec()),
    ];
    assert_eq!(list, expected);
    assert_eq!(worker.stop(soon(), |_| ()), Some(Ended::Exited(0)));
    assert!(fds::children().is_empty());
}

fn a_panic_in_the_handler_ends_the_worker_and_never_reaches_mains_frames() {
    struct Tattle(OwnedFd);
    impl Drop for Tattle {
        fn drop(&mut self) {
            _ = rustix::io::write(&self.0, b"dropped");
        }
    }
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let tattle = Tattle(writer.into());
    let keep = [tattle.0.as_raw_fd()];
    let mut worker = Worker::<u32, _>::start(Start::fork(handle).keep(&keep)).unwrap();
    worker.try_call(Call::new(PANIC, &[]), 1).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == 3);
    assert_eq!(list[0], Told::Died(Ended::Exited(101)));
    assert_eq!(list[1], Told::Lost(1, Lost::Running));
    reader.set_nonblocking(true).unwrap();
    let error = reader.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "main's destructor ran in the child");
    drop(tattle);
}

fn a_deadline_ends_a_request_that_runs_and_one_that_waits() {
    let mut worker = worker();
    let time = 300_u64.to_le_bytes();
    let deadline = Instant::now() + Duration::from_millis(50);
    worker.try_call(Call::new(SLEEP_MS, &[&time]).deadline(deadline), 1).unwrap();
    worker.try_call(Call::new(ECHO, &[b"never"]).deadline(deadline), 2).unwrap();
    worker.try_call(Call::new(ECHO, &[b"still"]), 3).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == 3);
    assert_eq!(list, [Told::Late(1), Told::Late(2), Told::Reply(3, b"still".to_vec())]);
    assert_eq!(worker.stray_replies(), 1, "the late reply of the one that ran");
}

fn a_cancelled_request_that_waits_never_begins() {
    let mut worker = worker();
    let file = tempfile::tempfile().unwrap();
    let time = 100_u64.to_le_bytes();
    worker.try_call(Call::new(SLEEP_MS, &[&time]), 1).unwrap();
    let fds = [file.as_fd()];
    let id = worker.try_call(Call::new(WRITE, &[b"no"]).fds(&fds), 2).unwrap();
    worker.turn(Instant::now());
    assert!(worker.cancel(id));
    assert!(!worker.cancel(id), "its outcome is decided");
    let list = turn_until(&mut worker, |list| list.len() == 2);
    assert_eq!(list, [Told::Cancelled(2), Told::Reply(1, b"slept".to_vec())]);
    worker.stop(soon(), |_| ());
    assert_eq!(file.metadata().unwrap().len(), 0);
}

fn always_again_begins_anew_up_to_the_limit() {
    let mut worker =
        Worker::<u32, _>::start(Start::fork(handle).restart(Restart::AT_ONCE)).unwrap();
    worker.try_call(Call::new(EXIT, &[]).again(Again::Always), 1).unwrap();
    let list = turn_until(&mut worker, |list| list.iter().any(|t| matches!(t, Told::Lost(..))));
    let deaths = list.iter().filter(|told| matches!(told, Told::Died(_))).count();
    assert_eq!(deaths, 4, "once and three times again: {list:?}");
}

fn giving_up_ends_every_request() {
    let mut worker = Worker::<u32, _>::start(Start::fork(handle).restart(Restart::NEVER)).unwrap();
    for tag in 0..3 {
        let method = if tag == 0 { EXIT } else { ECHO };
        worker.try_call(Call::new(method, &[]), tag).unwrap();
    }
    let list = turn_until(&mut worker, |list| matches!(list.last(), Some(Told::GaveUp(_))));
    let expected = [
        Told::Died(Ended::Exited(3)),
        Told::Lost(0, Lost::Running),
        Told::Lost(1, Lost::NotBegun),
        Told::Lost(2, Lost::NotBegun),
    ];
    assert_eq!(list[..4], expected);
    assert!(!worker.is_running());
    assert_eq!(worker.next_deadline(), None);
    assert_eq!(worker.try_call(Call::new(ECHO, &[]), 9).unwrap_err().why, Why::Stopped);
}

/// Appends numbered bytes, each by its own request, while the worker is killed again and again.
fn killed_at_any_moment_each_request_has_one_outcome() {
    let mut worker =
        Worker::<u32, _>::start(Start::fork(handle).restart(Restart::AT_ONCE)).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    let (total, mut next) = (400_u32, 0);
    let mut outcomes = vec![0; 400];
    let (mut lost, mut deaths, mut killed) = (Vec::new(), 0, 0);
    let limit = soon() + Duration::from_secs(60);
    let mut done = 0;
    while done < total {
        assert!(Instant::now() < limit, "{done} of {total}");
        while next < total && worker.has_room() {
            let byte = [u8::try_from(next % 251).unwrap()];
            let fds = [file.as_fd()];
            worker.try_call(Call::new(APPEND_BYTE, &[&byte]).fds(&fds), next).unwrap();
            next += 1;
        }
        let before = done;
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            match told(event) {
                Told::Reply(tag, _) => {
                    outcomes[usize::try_from(tag).unwrap()] += 1;
                    done += 1;
                }
                Told::Lost(tag, fate) => {
                    outcomes[usize::try_from(tag).unwrap()] += 1;
                    lost.push((tag, fate));
                    done += 1;
                }
                Told::Died(ended) => {
                    assert_eq!(ended, Ended::Killed(9));
                    deaths += 1;
                }
                Told::Started(_) => {}
                other => panic!("{other:?}"),
            }
        }
        if done / 13 > before / 13 {
            if let Some(pid) = worker.pid() {
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                killed += 1;
            }
        }
        if done < total {
            let deadline = worker.next_deadline().map_or(limit, |next| next.min(limit));
            wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(deadline)).unwrap();
        }
    }
    assert!(outcomes.iter().all(|&count| count == 1), "{outcomes:?}");
    assert!(deaths > 5 && deaths <= killed, "{deaths} deaths, {killed} kills");
    let running = lost.iter().filter(|(_, fate)| *fate == Lost::Running).count();
    assert!(running <= deaths, "at most one ran at each kill: {lost:?}");
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    // One that was running may have written its byte or not; every other stands there once.
    let mut position = 0;
    for tag in 0..total {
        let byte = u8::try_from(tag % 251).unwrap();
        let written = bytes.get(position) == Some(&byte);
        assert!(written || lost.contains(&(tag, Lost::Running)), "{tag} is missing");
        position += usize::from(written);
    }
    assert_eq!(position, bytes.len(), "nothing stands there twice");
}

fn a_hundred_restarts_leave_nothing_behind() {
    let mut worker =
        Worker::<u32, _>::start(Start::fork(handle).restart(Restart::AT_ONCE)).unwrap();
    let before = fds::open().len();
    for round in 0..100 {
        worker.try_call(Call::new(EXIT, &[]), round).unwrap();
        let list = turn_until(&mut worker, |list| {
            list.iter().any(|told| matches!(told, Told::Started(_)))
        });
        assert_eq!(list.len(), 3, "{list:?}");
    }
    assert_eq!(fds::open().len(), before);
    assert_eq!(fds::children().len(), 1, "no zombie");
    let list = turn_until_reply(&mut worker);
    assert_eq!(list, [Told::Reply(7, b"still here".to_vec())]);
}

fn turn_until_reply<H: Handler>(worker: &mut Worker<u32, H>) -> Vec<Told> {
    worker.try_call(Call::new(ECHO, &[b"still here"]), 7).unwrap();
    turn_until(worker, |list| !list.is_empty())
}

fn a_closed_connection_is_seen_at_once_also_after_a_restart() {
    let mut worker = worker();
    for restart in [false, true] {
        let (mut client, server) = UnixStream::pair().unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        if restart {
            worker.try_call(Call::new(EXIT, &[]), 1).unwrap();
            turn_until(&mut worker, |list| {
                list.iter().any(|told| matches!(told, Told::Started(_)))
            });
        }
        // Also one that was given to the worker: its duplicates go with the outcome.
        let fds = [server.as_fd()];
        let mut outcome = None;
        worker
            .call_until(Call::new(FDS, &[]).fds(&fds), 2, soon(), |event| {
                outcome = Some(told(event));
            })
            .unwrap();
        assert_eq!(outcome, Some(Told::Reply(2, 1_u32.to_le_bytes().to_vec())));
        drop(server);
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "after a restart: {restart}");
    }
}

fn the_child_keeps_only_its_own_descriptors() {
    let file = File::open("/dev/null").unwrap();
    let kept = File::open("/dev/zero").unwrap();
    let keep = [kept.as_raw_fd()];
    let mut worker = Worker::<u32, _>::start(Start::fork(handle).keep(&keep)).unwrap();
    worker.try_call(Call::new(OPEN_FDS, &[]), 1).unwrap();
    let list = turn_until(&mut worker, |list| !list.is_empty());
    let Told::Reply(_, bytes) = &list[0] else { panic!("{list:?}") };
    let text = String::from_utf8(bytes.clone()).unwrap();
    let open: Vec<&str> = text.trim_matches(['[', ']']).split(", ").collect();
    assert_eq!(open.len(), 5, "0, 1, 2, the kept one and the socket: {text}");
    assert!(open.contains(&kept.as_raw_fd().to_string().as_str()));
    assert!(!open.contains(&file.as_raw_fd().to_string().as_str()));
}

fn with_standard_streams_closed_nothing_lands_there() {
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

fn a_failing_set_up_arrives_with_stage_and_number() {
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
    assert_eq!(reason.errno.0, libc::EACCES);
    assert_eq!(reason.text.as_str(), "EACCES");
    drop(started);
    assert_eq!(fds::open(), before);
    assert!(fds::children().is_empty(), "no process is left");
}

fn a_start_that_hangs_is_killed_at_its_deadline() {
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

fn a_second_thread_is_a_clear_refusal() {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || _ = wait.recv());
    let Err(error) = Worker::<u32>::start(Start::fork(handle)) else { panic!("it started") };
    assert_eq!(error.to_string(), "cannot fork with 2 threads; fork before starting others");
    drop(done);
    thread.join().unwrap();
    drop(worker());
}

fn stop_delivers_every_outcome() {
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

fn stop_kills_at_the_deadline_and_tells_what_is_lost() {
    let mut worker = worker();
    let time = 600_000_u64.to_le_bytes();
    worker.try_call(Call::new(SLEEP_MS, &[&time]), 1).unwrap();
    worker.try_call(Call::new(ECHO, &[b"x"]), 2).unwrap();
    let mut list = Vec::new();
    let deadline = Instant::now() + Duration::from_millis(100);
    let ended = worker.stop(deadline, |event| list.push(told(event)));
    assert_eq!(ended, Some(Ended::Killed(9)));
    assert_eq!(list, [Told::Lost(1, Lost::Running), Told::Lost(2, Lost::NotBegun)]);
    assert!(fds::children().is_empty());
}

fn a_worker_whose_main_is_killed_finishes_and_exits() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let (alive, ours) = UnixStream::pair().unwrap();
    let mut main = match ipc_barrier::fork().unwrap() {
        Fork::Parent(child) => child,
        Fork::Child(_guard) => {
            let keep = [ours.as_raw_fd()];
            let mut worker = Worker::<u32, _>::start(Start::fork(handle).keep(&keep)).unwrap();
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

fn a_stopped_worker_never_blocks_main() {
    let mut worker = worker();
    let pid = rustix::process::Pid::from_raw(worker.pid().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let before = voluntary_switches();
    let bytes = [7; 600];
    let mut taken = 0;
    for round in 0..20_000 {
        taken += u32::from(worker.try_call(Call::new(ECHO, &[&bytes]), round).is_ok());
        worker.turn(Instant::now());
        assert!(worker.next_event().is_none());
    }
    assert_eq!(voluntary_switches(), before, "main has slept");
    assert!(taken > 10);
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == usize::try_from(taken).unwrap());
    assert!(list.iter().all(|told| matches!(told, Told::Reply(..))));
}

fn voluntary_switches() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt")).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}

fn signals_to_the_group_do_not_end_the_worker() {
    let mut worker = worker();
    let pid = rustix::process::Pid::from_raw(worker.pid().unwrap()).unwrap();
    use rustix::process::Signal;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::PIPE] {
        rustix::process::kill_process(pid, signal).unwrap();
    }
    assert_eq!(call(&mut worker, ECHO, b"here"), Told::Reply(0, b"here".to_vec()));
}

fn dropping_a_worker_ends_its_process() {
    let worker = worker();
    let pid = worker.pid().unwrap();
    drop(worker);
    let limit = soon();
    while std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z"))
    {
        assert!(Instant::now() < limit, "still running");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Random bytes instead of frames: main gives the worker up at once and starts another.
fn a_worker_that_breaks_the_protocol_is_replaced() {
    struct Liar {
        lies: bool,
    }
    impl Handler for Liar {
        fn handle(
            &mut self,
            request: &mut Request<'_>,
            reply: &mut Reply<'_>,
        ) -> Result<(), Refusal> {
            if self.lies && request.method() == EXIT {
                // Its own socket is the one descriptor beside the standard ones.
                let socket = fds::open().into_iter().find(|&fd| fd > 2).unwrap();
                write_raw(socket, &[0xee; 100]);
                std::thread::sleep(Duration::from_secs(600));
            }
            reply.put(b"honest")
        }
    }
    let start = Start::fork(Liar { lies: true });
    let mut worker = Worker::<u32, _>::start(start).unwrap();
    worker.try_call(Call::new(EXIT, &[]), 1).unwrap();
    worker.try_call(Call::new(ECHO, &[]), 2).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == 4);
    let expected = [
        Told::Died(Ended::Killed(9)),
        Told::Lost(1, Lost::Running),
        Told::Started(1),
        Told::Reply(2, b"honest".to_vec()),
    ];
    assert_eq!(list, expected);
}

#[expect(unsafe_code, reason = "a liar writes to a descriptor that it does not own")]
fn write_raw(fd: i32, bytes: &[u8]) {
    // SAFETY: the descriptor is open for the whole life of the worker.
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    _ = rustix::io::write(fd, bytes);
}

fn inline_gives_the_same_outcomes_in_one_process() {
    let mut worker = Worker::<u32>::start(Start::inline(handle)).unwrap();
    assert_eq!(worker.pid(), None);
    let mut file = tempfile::tempfile().unwrap();
    assert_eq!(call(&mut worker, ECHO, b"hello"), Told::Reply(0, b"hello".to_vec()));
    assert_eq!(call(&mut worker, REFUSE, b""), Told::Refused(0, 42));
    let own = std::process::id().to_le_bytes().to_vec();
    assert_eq!(call(&mut worker, PID, b""), Told::Reply(0, own));
    let fds = [file.as_fd()];
    worker.try_call(Call::new(WRITE, &[b"in ", b"line"]).fds(&fds), 1).unwrap();
    worker.try_call(Call::new(PIPE, &[b"x"]), 2).unwrap();
    worker.try_call(Call::new(PIPE, &[b"y"]), 3).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == 3);
    assert_eq!(list, [1, 2, 3].map(|tag| Told::Reply(tag, Vec::new())));
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "in line");
    assert_eq!(worker.stop(soon(), |_| ()), None);
}

fn a_batch_that_is_not_settled_is_lost_as_done() {
    struct Unsettled;
    impl Handler for Unsettled {
        fn handle(&mut self, _: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> {
            Ok(())
        }
        fn settle(&mut self) -> Result<(), Refusal> {
            Err(Refusal::new(5, "disk"))
        }
    }
    let start = Start::fork(Unsettled).restart(Restart::NEVER);
    let mut forked = Worker::<u32, _>::start(start).unwrap();
    let mut inline = Worker::<u32, _>::start(Start::inline(Unsettled)).unwrap();
    forked.try_call(Call::new(ECHO, &[]), 1).unwrap();
    inline.try_call(Call::new(ECHO, &[]), 1).unwrap();
    let list = turn_until(&mut forked, |list| list.len() == 3);
    assert_eq!(list[..2], [Told::Died(Ended::Exited(74)), Told::Lost(1, Lost::Done)]);
    let list = turn_until(&mut inline, |list| list.len() == 2);
    assert_eq!(list[0], Told::Lost(1, Lost::Done));
    assert!(matches!(list[1], Told::GaveUp(_)));
}

cases! {
    blocking_call_gets_its_reply,
    handler_runs_in_another_process,
    replies_come_in_request_order,
    descriptors_reach_the_handler_and_come_back,
    as_many_descriptors_as_a_message_carries,
    what_is_not_taken_comes_back_with_its_reason,
    try_call_duplicates_nothing_where_no_descriptor_is_left,
    death_is_an_event_and_the_next_worker_answers,
    a_panic_in_the_handler_ends_the_worker_and_never_reaches_mains_frames,
    a_deadline_ends_a_request_that_runs_and_one_that_waits,
    a_cancelled_request_that_waits_never_begins,
    always_again_begins_anew_up_to_the_limit,
    giving_up_ends_every_request,
    killed_at_any_moment_each_request_has_one_outcome,
    a_hundred_restarts_leave_nothing_behind,
    a_closed_connection_is_seen_at_once_also_after_a_restart,
    the_child_keeps_only_its_own_descriptors,
    with_standard_streams_closed_nothing_lands_there,
    a_failing_set_up_arrives_with_stage_and_number,
    a_start_that_hangs_is_killed_at_its_deadline,
    a_second_thread_is_a_clear_refusal,
    stop_delivers_every_outcome,
    stop_kills_at_the_deadline_and_tells_what_is_lost,
    a_worker_whose_main_is_killed_finishes_and_exits,
    a_stopped_worker_never_blocks_main,
    signals_to_the_group_do_not_end_the_worker,
    dropping_a_worker_ends_its_process,
    a_worker_that_breaks_the_protocol_is_replaced,
    inline_gives_the_same_outcomes_in_one_process,
    a_batch_that_is_not_settled_is_lost_as_done,
}
