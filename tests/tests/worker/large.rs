//! A worker with 8 MiB each way, built in place on a small stack.

#![expect(unsafe_code, reason = "runs on another stack, and reads it")]

use ipc_tests::over;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{
    Call, Ended, Event, Instant, Launch, Outcome, Refusal, Reply, Request, Restart, Worker,
};

use crate::handler::{ECHO, soon};

/// The most stack that `start_in` promises to need.
const PROMISED: usize = 16 << 10;

const DEPTH: u16 = 2;

/// A byte that is unlikely to be left on a stack by anything else.
const PAINT: u8 = 0xa5;

/// The lowest address of the stack, and its length.
static STACK: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
/// The most stack used by main and by the child.
static USED: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Returns how much of the stack this process has ever used.
fn depth() -> usize {
    let [start, len] = [0, 1].map(|index| STACK[index].load(Ordering::Relaxed));
    let is_painted = |offset: &usize| {
        // SAFETY: the byte is inside the mapping.
        unsafe { std::ptr::read_volatile((start + offset) as *const u8) == PAINT }
    };
    len - (0..len).take_while(is_painted).count()
}

fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    match request.method() {
        ECHO => {
            request.take_fd().map_or(Ok(()), |fd| reply.put_fd(fd))?;
            reply.put(request.bytes())
        }
        _ => reply.put(&depth().to_le_bytes()),
    }
}

type Large<L> = Worker<u32, L, 22_500, 8_388_608>;

/// Turns like a daemon's loop until the event has come.
fn turn_until<L: Launch>(worker: &mut Large<L>, mut is_it: impl FnMut(Event<'_, u32>) -> bool) {
    let limit = soon();
    loop {
        worker.turn(Instant::now());
        let mut is_there = false;
        while let Some(event) = worker.next_event() {
            is_there |= is_it(event);
        }
        if is_there {
            return;
        }
        assert!(Instant::now() < limit);
        let deadline = worker.next_deadline().map_or(limit, |next| next.min(limit));
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(deadline)).unwrap();
    }
}

/// Asks the child how much stack it has used.
fn note_depths<L: Launch>(worker: &mut Large<L>) {
    worker.try_call(Call::new(DEPTH, &[]), 7).unwrap();
    turn_until(worker, |event| {
        let Event::Done { tag: 7, outcome: Outcome::Reply(reply) } = event else { return false };
        let in_child = usize::from_le_bytes(reply.bytes().try_into().unwrap());
        USED[1].fetch_max(in_child, Ordering::Relaxed);
        true
    });
    USED[0].fetch_max(depth(), Ordering::Relaxed);
}

/// A worker's whole life: calls, a death, a restart, and a stop.
extern "C" fn live(_: *mut c_void) -> c_int {
    let mut place: Box<MaybeUninit<Large<_>>> = Box::new_uninit();
    let start = over::fork(handle).restart(Restart::AT_ONCE);
    let worker = Worker::start_in(&mut place, start).unwrap();
    note_depths(worker);
    let long = vec![7; 1_000_000];
    let null = std::fs::File::open("/dev/null").unwrap();
    let fds = [null.as_fd()];
    worker.try_call(Call::new(ECHO, &[&long]).fds(&fds).reply_fds(1), 1).unwrap();
    turn_until(worker, |event| match event {
        Event::Done { outcome: Outcome::Reply(mut reply), .. } => {
            reply.bytes() == long && reply.take_fd().is_some()
        }
        _ => false,
    });
    note_depths(worker);
    let pid = rustix::process::Pid::from_raw(worker.pid().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    turn_until(worker, |event| matches!(event, Event::Started { .. }));
    note_depths(worker);
    assert_eq!(worker.stop(soon(), |_| ()), Some(Ended::Exited(0)));
    USED[0].fetch_max(depth(), Ordering::Relaxed);
    // SAFETY: `start_in` initialized it, and it is no longer used.
    unsafe { place.assume_init_drop() };
    let [main, child] = [0, 1].map(|index| USED[index].load(Ordering::Relaxed));
    println!("a large worker uses {main} bytes of stack in main, {child} in the child");
    assert!(main <= PROMISED && child <= PROMISED, "main {main}, child {child}");
    0
}

/// Maps a stack of `len` bytes above a guard page, and paints it.
fn map(len: usize) {
    const GUARD: usize = 4096;
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
    let flags = flags | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping changes no memory that is in use.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len + GUARD, protection, flags, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    // SAFETY: the page is the first of the new mapping.
    assert_eq!(unsafe { libc::mprotect(start, GUARD, libc::PROT_NONE) }, 0);
    let start = start as usize + GUARD;
    // SAFETY: the rest of the mapping is `len` bytes long.
    unsafe { std::ptr::write_bytes(start as *mut u8, PAINT, len) };
    STACK[0].store(start, Ordering::Relaxed);
    STACK[1].store(len, Ordering::Relaxed);
}

/// Runs the function in a child on the most recently mapped stack (clone(2)).
fn run_there(function: extern "C" fn(*mut c_void) -> c_int) {
    let [start, len] = [0, 1].map(|index| STACK[index].load(Ordering::Relaxed));
    let (top, nothing) = ((start + len) as *mut c_void, std::ptr::null_mut());
    // SAFETY: this process has one thread, so the child may call anything; the child has copies of
    // the stack and of everything else.
    let child = unsafe { libc::clone(function, top, libc::SIGCHLD, nothing) };
    let mut status = 0;
    // SAFETY: the kernel writes the status into the variable.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status:#x}");
}

pub(crate) fn repro_a_large_worker_needs_no_stack() {
    // First on a large stack, to see how much is used; then on one of the promised size.
    for len in [1 << 20, PROMISED] {
        map(len);
        run_there(live);
    }
}
