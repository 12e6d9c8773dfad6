//! The ring: when both sides agree on it, and when they stay on the socket.

use std::time::Duration;

use ipc_tests::forked::{end_of, forked};
use ipc_tests::seccomp;
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::fd::AsFd;
use ipc_worker::{
    Call, Ended, Event, Handler, Instant, Launch, Outcome, Pool, Reason, Refusal, Reply, Request,
    Start, Worker,
};

use crate::handler::*;

/// Returns whether the worker uses the ring, which must make no difference to an echo.
fn goes_over_the_ring<L: Launch>(mut worker: Worker<u32, L>) -> bool {
    assert_eq!(call(&mut worker, ECHO, b"hello"), Told::Reply(0, b"hello".to_vec()));
    let is_over_ring = worker.is_over_ring();
    worker.stop(soon(), |_| ());
    assert!(!worker.is_over_ring(), "it has stopped");
    is_over_ring
}

pub(crate) fn a_worker_goes_over_the_ring_if_that_is_asked_for() {
    assert!(goes_over_the_ring(Worker::start(Start::fork(handle).over_ring()).unwrap()));
    assert!(!goes_over_the_ring(Worker::start(Start::fork(handle)).unwrap()));
}

pub(crate) fn where_main_may_not_use_futex_all_stays_on_the_socket() {
    for errno in [libc::ENOSYS, libc::EPERM] {
        let mut main = forked(|| {
            seccomp::refuse(&[libc::SYS_futex], errno);
            assert!(!goes_over_the_ring(Worker::start(Start::fork(handle).over_ring()).unwrap()));
        });
        assert_eq!(end_of(&mut main), Ended::Exited(0));
    }
}

/// Denies itself futex once both sides have agreed, as a sandbox may.
struct Sandboxed;

impl Handler for Sandboxed {
    fn prepare(&mut self) -> Result<(), Reason> {
        seccomp::refuse(&[libc::SYS_futex], libc::EPERM);
        Ok(())
    }

    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        handle(request, reply)
    }
}

/// The worker then sleeps on the socket. It cannot wake main, which wakes by itself.
pub(crate) fn a_worker_that_takes_futex_from_itself_still_answers() {
    let mut worker =
        Worker::<u32, _>::start(Start::fork(Sandboxed).over_ring().patience(ONE_LOOK)).unwrap();
    for _ in 0..5 {
        assert_eq!(call(&mut worker, ECHO, b"hello"), Told::Reply(0, b"hello".to_vec()));
        let mut replied = false;
        let take = |event: Event<'_, u32>| {
            replied |= matches!(event, Event::Done { outcome: Outcome::Reply(_), .. });
        };
        worker.call_until(Call::new(ECHO, &[b"again"]), 1, soon(), take).unwrap();
        assert!(replied);
    }
}

const ONE_LOOK: ipc_worker::Patience = ipc_worker::Patience { spin: Duration::from_nanos(1) };

pub(crate) fn a_pool_goes_over_rings() {
    let mut pool = Pool::<u32, _, 3>::start(|_| Ok(Start::fork(handle).over_ring())).unwrap();
    assert!(pool.workers().iter().all(Worker::is_over_ring));
    for tag in 0..9 {
        pool.try_call(Call::new(ECHO, &[b"hello"]), tag).unwrap();
    }
    let (mut replies, limit) = (0, soon());
    while replies < 9 {
        pool.turn(Instant::now());
        while let Some((_, event)) = pool.next_event() {
            replies += u32::from(matches!(event, Event::Done { outcome: Outcome::Reply(_), .. }));
        }
        assert!(Instant::now() < limit, "{replies}");
    }
}

/// Replies, and sends a note a little later.
fn handle_and_note(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(20));
        assert!(ipc_worker::note(3, b"later"));
    });
    reply.put(request.bytes())
}

/// A note after a blocking call shows at the descriptor, even without a turn in between.
pub(crate) fn the_descriptor_shows_what_comes_after_a_call_that_waited() {
    let start = Start::fork(handle_and_note).over_ring();
    let mut worker = Worker::<u32, _>::start(start).unwrap();
    for number in 0..5 {
        worker.call_until(Call::new(ECHO, &[b"x"]), number, soon(), |_| ()).unwrap();
        let (mut is_noted, limit) = (false, soon());
        while !is_noted {
            let next = worker.next_deadline().map_or(limit, |next| next.min(limit));
            wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(next)).unwrap();
            assert!(Instant::now() < limit, "note {number} was not shown");
            worker.turn(Instant::now());
            while let Some(event) = worker.next_event() {
                is_noted |= matches!(event, Event::Note { note, .. } if note.number() == 3);
            }
        }
    }
}
