//! Faults that were found in the worker and fixed: each case failed before its fix.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    unsafe_code,
    reason = "a test fails by panicking; a hostile worker writes to descriptors it does not own"
)]

use ipc_tests::over;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_barrier::Fork;
use ipc_frame::Header;
use ipc_tests::{cases, fds};
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{
    Again, Call, Ended, Event, Handler, How, Instant, Launch, Outcome, Reason, Refusal, Reply,
    Request, Restart, Worker,
};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

const ECHO: u16 = 1;
const SLEEP_MS: u16 = 2;
const DEAF: u16 = 3;
const HEIR: u16 = 4;
const LONG: u16 = 5;
const RAISE: u16 = 6;

fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    match request.method() {
        ECHO => reply.put(request.bytes()),
        SLEEP_MS => {
            let time = u64::from_le_bytes(request.bytes().try_into().unwrap());
            std::thread::sleep(Duration::from_millis(time));
            reply.put(b"slept")
        }
        DEAF => {
            rustix::net::shutdown(fds::own_socket(), rustix::net::Shutdown::Read).unwrap();
            std::thread::sleep(Duration::from_secs(600));
            Ok(())
        }
        HEIR => leave_flooding_heirs(),
        LONG => {
            // The smallest size that the kernel allows, less than the reply.
            rustix::net::sockopt::set_socket_send_buffer_size(fds::own_socket(), 1)?;
            std::thread::sleep(Duration::from_millis(100));
            reply.put(&[7; 16_000])
        }
        RAISE => {
            let mut file = File::create(std::str::from_utf8(request.bytes()).unwrap())?;
            // The lowest free numbers: main's pipe had one of these or one close by.
            let copies: Vec<File> = (0..8).map(|_| file.try_clone().unwrap()).collect();
            kill_process(rustix::process::getpid(), Signal::USR1)?;
            drop(copies);
            reply.put(&std::io::Seek::stream_position(&mut file)?.to_le_bytes())
        }
        _ => Err(Refusal::UNKNOWN_METHOD),
    }
}

/// Ends the worker, but leaves processes that hold its socket and keep writing frames to it until
/// the case ends. They write more than main reads, so the socket is never empty.
fn leave_flooding_heirs() -> ! {
    // Writers wake when the socket is a quarter full, still more than main reads at once.
    rustix::net::sockopt::set_socket_send_buffer_size(fds::own_socket(), 1 << 20).unwrap();
    // Few enough that the kernel does not split the frames of one call.
    let frames = Header::reply(u64::MAX).encode().repeat(150);
    for _ in 0..3 {
        if let Fork::Child(_guard) = ipc_barrier::fork().unwrap() {
            while rustix::io::write(fds::own_socket(), &frames).is_ok() {}
            ipc_barrier::exit(0)
        }
    }
    ipc_barrier::exit(3)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn worker(restart: Restart) -> Worker<u32, impl Launch> {
    let start = over::fork(handle).restart(restart);
    Worker::<u32, _>::start(start).unwrap()
}

/// Turns until the event has come, and returns all events so far.
fn turn_until<L: Launch, const S: usize, const B: usize>(
    worker: &mut Worker<u32, L, S, B>,
    wanted: &str,
) -> String {
    let (limit, mut list) = (soon(), String::new());
    loop {
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            list += &format!("{event:?}\n");
        }
        if list.contains(wanted) {
            return list;
        }
        assert!(Instant::now() < limit, "no {wanted:?} in {list}");
        let deadline = worker.next_deadline().map_or(limit, |next| next.min(limit));
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(deadline)).unwrap();
    }
}

fn signal<L: Launch>(worker: &Worker<u32, L>, signal: Signal) {
    kill_process(Pid::from_raw(worker.pid().unwrap()).unwrap(), signal).unwrap();
}

fn repro_requests_taken_back_while_there_is_no_room_leave_main_idle() {
    let mut worker = worker(Restart::STANDARD);
    signal(&worker, Signal::STOP);
    let bytes = [7; 400];
    for tag in 0..4000 {
        let deadline = Instant::now() + Duration::from_millis(1);
        _ = worker.try_call(Call::new(ECHO, &[&bytes]).deadline(deadline), tag);
        worker.turn(Instant::now());
        while worker.next_event().is_some() {}
    }
    std::thread::sleep(Duration::from_millis(5));
    worker.turn(Instant::now());
    while worker.next_event().is_some() {}
    assert_eq!(worker.under_way(), 0);
    signal(&worker, Signal::CONT);
    let (end, mut turns) = (Instant::now() + Duration::from_secs(1), 0);
    while Instant::now() < end {
        let deadline = worker.next_deadline().map_or(end, |next| next.min(end));
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(deadline)).unwrap();
        worker.turn(Instant::now());
        while worker.next_event().is_some() {}
        turns += 1;
    }
    assert!(turns < 1000, "{turns} turns in a second with nothing to do");
}

/// A worker from which main reads 4 KiB at a time: much less than its heirs keep in the socket.
fn taken_little_by_little() -> Worker<u32, impl Launch, 16, 4096> {
    Worker::start(over::fork(handle)).unwrap()
}

fn repro_an_heir_that_writes_on_does_not_hide_the_death() {
    over::only_the_socket();
    let mut worker = taken_little_by_little();
    worker.try_call(Call::new(HEIR, &[]), 1).unwrap();
    let list = turn_until(&mut worker, "Started");
    assert!(list.contains("Died(Exited(3))"), "{list}");
}

fn repro_an_heir_that_writes_on_does_not_hold_stop() {
    let mut worker = taken_little_by_little();
    worker.try_call(Call::new(HEIR, &[]), 1).unwrap();
    worker.turn(Instant::now());
    let process = Pid::from_raw(worker.pid().unwrap()).unwrap();
    // SAFETY: no memory is involved; the signal ends a case that waits.
    unsafe { libc::alarm(30) };
    // It has left its heirs behind, and is not reaped yet.
    let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(process), how).unwrap();
    assert_eq!(worker.stop(Instant::now(), |_| ()), Some(Ended::Exited(3)));
}

fn repro_a_request_that_had_begun_is_never_lost_as_not_begun() {
    let mut worker = worker(Restart::NEVER);
    let time = 600_000_u64.to_le_bytes();
    worker.try_call(Call::new(SLEEP_MS, &[&time]).again(Again::UntilDone), 1).unwrap();
    worker.turn(Instant::now());
    std::thread::sleep(Duration::from_millis(200));
    signal(&worker, Signal::KILL);
    let list = turn_until(&mut worker, "GaveUp");
    assert!(list.contains(&format!("{:?}", How::Running)), "{list}");
    assert!(!list.contains(&format!("{:?}", How::NotBegun)), "{list}");
}

fn repro_a_worker_that_does_not_listen_is_replaced() {
    over::only_the_socket();
    let mut worker = worker(Restart::STANDARD);
    worker.try_call(Call::new(DEAF, &[]), 1).unwrap();
    worker.turn(Instant::now());
    std::thread::sleep(Duration::from_millis(200));
    worker.try_call(Call::new(ECHO, &[b"heard"]), 2).unwrap();
    let list = turn_until(&mut worker, "Reply");
    assert!(list.contains("Died(Killed(9))") && list.contains("Running"), "{list}");
}

fn repro_stop_takes_a_late_reply_that_the_worker_waits_to_send() {
    let mut worker = worker(Restart::STANDARD);
    let deadline = Instant::now() + Duration::from_millis(20);
    worker.try_call(Call::new(LONG, &[]).deadline(deadline), 1).unwrap();
    turn_until(&mut worker, "DeadlinePassed");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(worker.stop(soon(), |_| ()), Some(Ended::Exited(0)));
}

fn repro_mains_signal_handlers_do_not_run_in_the_worker() {
    let (reader, writer) = UnixStream::pair().unwrap();
    // The handler writes to a descriptor number, like those of most programs.
    HANDLER_FD.store(writer.as_raw_fd(), std::sync::atomic::Ordering::Relaxed);
    // SAFETY: the handler makes only a system call.
    unsafe { libc::signal(libc::SIGUSR1, on_signal as extern "C" fn(i32) as libc::sighandler_t) };
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut worker = worker(Restart::STANDARD);
    let path = file.path().to_str().unwrap().as_bytes();
    worker.try_call(Call::new(RAISE, &[path]), 1).unwrap();
    let list = turn_until(&mut worker, "Died");
    assert!(list.contains("Killed(10)"), "the default action of SIGUSR1: {list}");
    assert_eq!(std::fs::read(file.path()).unwrap(), b"", "main's handler wrote into it");
    drop(reader);
}

static HANDLER_FD: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);

extern "C" fn on_signal(_: i32) {
    let number = HANDLER_FD.load(std::sync::atomic::Ordering::Relaxed);
    // SAFETY: what the number refers to by now is the point of the case.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    _ = rustix::io::write(fd, b"S");
}

/// The child makes the barrier's counters blocking; main shares them.
struct Blocker;

impl Handler for Blocker {
    fn prepare(&mut self) -> Result<(), Reason> {
        for number in fds::open().into_iter().filter(|&fd| fd > 2) {
            // SAFETY: ownership is given up again below.
            let file = unsafe { File::from_raw_fd(number) };
            let flags = rustix::fs::fcntl_getfl(&file).unwrap();
            rustix::fs::fcntl_setfl(&file, flags - rustix::fs::OFlags::NONBLOCK).unwrap();
            _ = file.into_raw_fd();
        }
        ipc_barrier::exit(5)
    }

    fn handle(&mut self, _: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> {
        Ok(())
    }
}

fn repro_a_child_that_makes_the_counters_blocking_does_not_hold_main() {
    let start = over::fork(Blocker).ready_within(Duration::from_secs(2));
    let Err(error) = Worker::<u32, _>::start(start) else { panic!("it started") };
    assert_eq!(error, ipc_worker::StartError::Died(Ended::Exited(5)));
}

fn replies_that_were_written_come_before_a_death_is_told() {
    let mut worker = worker(Restart::STANDARD);
    for tag in 0..20 {
        worker.try_call(Call::new(ECHO, &[b"x"]), tag).unwrap();
    }
    worker.turn(Instant::now());
    std::thread::sleep(Duration::from_millis(200));
    signal(&worker, Signal::KILL);
    let mut replies = 0;
    let limit = soon();
    loop {
        worker.turn(Instant::now());
        match worker.next_event() {
            Some(Event::Done { outcome: Outcome::Reply(_), .. }) => replies += 1,
            Some(Event::Died(_)) => break,
            Some(other) => panic!("{other:?}"),
            None => assert!(Instant::now() < limit),
        }
    }
    assert_eq!(replies, 20);
}

cases! {
    repro_requests_taken_back_while_there_is_no_room_leave_main_idle,
    repro_an_heir_that_writes_on_does_not_hide_the_death,
    repro_an_heir_that_writes_on_does_not_hold_stop,
    repro_a_request_that_had_begun_is_never_lost_as_not_begun,
    repro_a_worker_that_does_not_listen_is_replaced,
    repro_stop_takes_a_late_reply_that_the_worker_waits_to_send,
    repro_mains_signal_handlers_do_not_run_in_the_worker,
    repro_a_child_that_makes_the_counters_blocking_does_not_hold_main,
    replies_that_were_written_come_before_a_death_is_told,
}
