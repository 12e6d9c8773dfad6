//! What a forked worker inherits from main, and what it does not.

#![expect(unsafe_code, reason = "signals, and use of a descriptor by a stored number")]

use ipc_tests::over;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

use ipc_tests::around::proc;
use ipc_tests::fds;
use ipc_worker::{Call, Refusal, Reply, Request, Restart, Worker};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::handler::*;

const STATUS: u16 = 100;
const LIMIT: u16 = 101;
const LOG: u16 = 102;
const PRECEDENCE: u16 = 103;

fn own_state(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    match request.method() {
        STATUS => {
            let status = std::fs::read_to_string(proc("self/status"))?;
            let of_signals = |line: &&str| line.starts_with("SigBlk") || line.starts_with("SigIgn");
            status.lines().filter(of_signals).try_for_each(|line| reply.put(line.as_bytes()))
        }
        LIMIT => {
            let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
            reply.put(format!("{current:?} {maximum:?}").as_bytes())
        }
        PRECEDENCE => reply.put(precedence().as_bytes()),
        LOG => {
            // The request's descriptor gets the lowest free number.
            let mut client = File::from(request.take_fd().unwrap());
            client.write_all(b"for the client")?;
            let log = LOGGER.get().unwrap();
            reply.put(
                format!("{:?}", (&*log).write_all(b"secret").map_err(|e| e.kind())).as_bytes(),
            )?;
            reply.put(format!(" {:?}", log.metadata().is_ok()).as_bytes())
        }
        _ => handle(request, reply),
    }
}

/// Many programs have such a static for their log.
static LOGGER: OnceLock<File> = OnceLock::new();

fn text_of(told: Told) -> String {
    let Told::Reply(_, bytes) = told else { panic!("{told:?}") };
    String::from_utf8(bytes).unwrap()
}

/// A number that was main's must not get another file: a logger unknown to the handler would write
/// to it.
pub(crate) fn repro_a_stale_number_never_means_another_file() {
    let mut log = tempfile::tempfile().unwrap();
    LOGGER.set(log.try_clone().unwrap()).unwrap();
    let mut client = tempfile::tempfile().unwrap();
    let mut worker = Worker::<u32, _>::start(over::fork(own_state)).unwrap();
    for tag in 0..8 {
        worker.try_call(Call::new(LOG, &[]).fds(&[client.as_fd()]), tag).unwrap();
        let list = turn_until(&mut worker, |list| !list.is_empty());
        let Told::Reply(_, bytes) = &list[0] else { panic!("{list:?}") };
        assert_eq!(str::from_utf8(bytes).unwrap(), "Err(Uncategorized) true", "EBADF");
    }
    let mut text = String::new();
    client.rewind().unwrap();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "for the client".repeat(8));
    log.rewind().unwrap();
    assert_eq!(log.read(&mut [0; 8]).unwrap(), 0, "the worker cannot reach the file");
}

pub(crate) fn numbers_that_stay_taken_leave_the_worker_its_share_of_descriptors() {
    let open: Vec<File> = (0..200).map(|_| File::open("/dev/null").unwrap()).collect();
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum }).unwrap();
    let mut worker = Worker::<u32, _>::start(over::fork(own_state)).unwrap();
    let limit = text_of(call(&mut worker, LIMIT, b""));
    let current: u64 =
        limit.strip_prefix("Some(").unwrap().split(')').next().unwrap().parse().unwrap();
    assert!((456..480).contains(&current), "raised by the numbers that stay taken: {limit}");
    drop(open);
}

/// Like a system without /proc.
pub(crate) fn where_numbers_cannot_be_kept_the_descriptors_are_closed() {
    let file = File::open("/dev/null").unwrap();
    ipc_tests::seccomp::refuse(&[libc::SYS_dup3], libc::EPERM);
    let mut worker = Worker::<u32, _>::start(over::fork(handle)).unwrap();
    let open = text_of(call(&mut worker, OPEN_FDS, b""));
    assert_eq!(open.split(',').count(), 4, "0, 1, 2 and the socket: {open}");
    assert!(!open.contains(&format!(" {},", file.as_raw_fd())));
}

static SELF_PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_term(_: i32) {
    // SAFETY: the case keeps the pipe open.
    let pipe = unsafe { BorrowedFd::borrow_raw(SELF_PIPE.load(Relaxed)) };
    _ = rustix::io::write(pipe, b"t");
}

extern "C" fn raise_term() {
    // SAFETY: the call has no precondition.
    unsafe { libc::raise(libc::SIGTERM) };
}

/// Raises SIGTERM in every child right after its fork, as a service manager's stop may.
fn raise_in_children() {
    // SAFETY: the function makes only a system call.
    assert_eq!(unsafe { libc::pthread_atfork(None, None, Some(raise_term)) }, 0);
}

pub(crate) fn repro_mains_handlers_do_not_run_between_fork_and_set_up() {
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    SELF_PIPE.store(writer.as_raw_fd(), Relaxed);
    let handler = on_term as extern "C" fn(i32) as libc::sighandler_t;
    // SAFETY: the handler makes only a system call.
    unsafe { libc::signal(libc::SIGTERM, handler) };
    raise_in_children();
    let mut worker = Worker::<u32, _>::start(over::fork(handle)).unwrap();
    assert!((&reader).read(&mut [0; 8]).is_err(), "main's handler ran in the child");
    assert!(matches!(call(&mut worker, ECHO, b"x"), Told::Reply(..)));
    raise_term();
    assert_eq!((&reader).read(&mut [0; 8]).unwrap(), 1, "main handles its signals again");
}

pub(crate) fn repro_a_signal_between_fork_and_set_up_does_not_end_the_start() {
    raise_in_children();
    let mut worker = Worker::<u32, _>::start(over::fork(handle)).unwrap();
    assert!(matches!(call(&mut worker, ECHO, b"x"), Told::Reply(..)));
}

/// Returns the set of signals after this name in the handler's report.
fn set_of(name: &str, status: &str) -> u64 {
    let (_, rest) = status.split_once(name).unwrap();
    u64::from_str_radix(rest[2..18].trim(), 16).unwrap()
}

pub(crate) fn repro_a_worker_blocks_no_signal_and_ignores_those_that_are_for_main() {
    let blocked = [libc::SIGUSR1, libc::SIGALRM, libc::SIGTERM, libc::SIGCHLD];
    // SAFETY: all zeroes is a valid set.
    let mut set: libc::sigset_t = unsafe { core::mem::zeroed() };
    for signal in blocked {
        // SAFETY: the set is a live value.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    // SAFETY: the set is a live value.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, core::ptr::null_mut()) };
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let start = over::fork(own_state).restart(Restart::AT_ONCE);
    let mut worker = Worker::<u32, _>::start(start).unwrap();
    let status = text_of(call(&mut worker, STATUS, b""));
    let of_libc = 0b111 << 31;
    assert_eq!(set_of("SigBlk", &status), 0);
    let bit = |signal: Signal| 1_u64 << (signal.as_raw() - 1);
    let ignored = [Signal::TERM, Signal::INT, Signal::HUP, Signal::PIPE].map(bit);
    assert_eq!(set_of("SigIgn", &status) & !of_libc, ignored.iter().sum::<u64>());
    let own = std::fs::read_to_string(proc("self/status")).unwrap();
    let bits = blocked.map(|signal| 1_u64 << (signal - 1)).iter().sum::<u64>();
    assert_eq!(set_of("SigBlk", &own), bits, "main's mask is unchanged");
}

/// A library in the handler may also keep a number.
pub(crate) fn a_number_that_is_dropped_in_the_worker_closes_no_other_file() {
    fn drops(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        let number = i32::from_le_bytes(request.bytes().try_into().unwrap());
        let (first, second) = (File::open("/dev/zero")?, File::open("/dev/zero")?);
        // SAFETY: in main this program owned it, and here nothing else does.
        drop(unsafe { File::from_raw_fd(number) });
        let alive =
            fds::mode(first.as_raw_fd()).is_some() && fds::mode(second.as_raw_fd()).is_some();
        reply.put(&[u8::from(alive)])
    }
    let file = File::open("/dev/null").unwrap();
    let mut worker = Worker::<u32, _>::start(over::fork(drops)).unwrap();
    let number = file.as_raw_fd().to_le_bytes();
    let told = call(&mut worker, 1, &number);
    assert!(matches!(&told, Told::Reply(_, bytes) if bytes == &[1]), "{told:?}");
}

/// Returns the scheduling policy, the nice value and the out-of-memory score adjustment.
fn precedence() -> String {
    // SAFETY: the call touches no memory.
    let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
    let nice = rustix::process::getpriority_process(None).unwrap();
    let score = std::fs::read_to_string(proc("self/oom_score_adj")).unwrap();
    format!("{policy} {nice} {}", score.trim())
}

/// Sets the policy by a raw system call: musl's function always fails (sched_setscheduler(2)).
fn set_policy(policy: i32, priority: i32) {
    // SAFETY: the kernel reads one int, which lives for the call.
    unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const priority) };
}

pub(crate) fn a_worker_of_a_main_with_precedence_is_an_ordinary_process() {
    rustix::process::setpriority_process(None, -5).ok();
    std::fs::write(proc("self/oom_score_adj"), "-7").ok();
    set_policy(libc::SCHED_RR, 1);
    let own = precedence();
    if !own.starts_with("2 -5 ") {
        ipc_tests::cases::skip("raising priorities", "CAP_SYS_NICE");
    }
    if own.ends_with(" 0") {
        println!("skipped: a negative oom_score_adj (install with: CAP_SYS_RESOURCE)");
    }
    let mut worker = Worker::<u32, _>::start(over::fork(own_state)).unwrap();
    assert_eq!(text_of(call(&mut worker, PRECEDENCE, b"")), "0 0 0");
    assert_eq!(precedence(), own, "main keeps its precedence");
    rustix::process::setpriority_process(None, 5).unwrap();
    set_policy(libc::SCHED_OTHER, 0);
    let mut worker = Worker::<u32, _>::start(over::fork(own_state)).unwrap();
    assert_eq!(text_of(call(&mut worker, PRECEDENCE, b"")), "0 5 0", "lower precedence is kept");
}
