//! The barrier in a child of a process with many threads: it neither allocates nor takes a lock.
//!
//! A lock held by another thread at the fork stays locked in the child for ever, including the
//! allocator's. So the child must not allocate. A counting allocator shows that it does not, and a
//! locked one shows that it would hang.

#![expect(
    unsafe_code,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and forks while other threads run"
)]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipc_barrier::{
    Barrier, Child, ChildEnd, Ended, Eventfd, Fork, Lane, Page, ParentEnd, PeerAbort, Unmet, exit,
    fork_raw,
};
use ipc_tests::cases;
use ipc_tests::counting::Counting;
use ipc_tests::forked::{end_of, soon};
use ipc_transport::{Errno, Instant};

/// The counting allocator, behind a lock that a case can hold.
struct Locked;

static HELD: AtomicBool = AtomicBool::new(false);

fn wait_for_the_lock() {
    while HELD.load(Ordering::Acquire) {
        std::hint::spin_loop();
    }
}

// SAFETY: every call is passed on unchanged, once the lock is free.
unsafe impl GlobalAlloc for Locked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        wait_for_the_lock();
        // SAFETY: the caller promises what the other allocator requires.
        unsafe { Counting.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        wait_for_the_lock();
        // SAFETY: as above; the pointer came from `alloc`.
        unsafe { Counting.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Locked = Locked;

const TIMES: usize = 500;

/// Everything that a child does with its end: every call, and its own failure with a reason.
fn in_the_child<L: Lane>(mut end: ChildEnd<L>) -> bool {
    let met = end.place().is_ok()
        && end.place_and_sync_until(soon()).is_ok()
        && end.try_sync() == Ok(true)
        && end.sync().is_ok()
        && end.sync_next_until(soon()).is_ok()
        && end.place_and_sync().is_ok()
        // The parent has met three times when it places its fourth token.
        && end.place_and_sync_until(soon()).is_ok()
        && end.wait_next_until(Instant::now()) == Err(Unmet::TimedOut)
        && end.try_wait_next() == Ok(false)
        && end.try_wait_abort().is_none()
        && end.wait_abort_until(Instant::now() + Duration::from_micros(10)).is_none()
        && end.watch().is_ok()
        && end.arm();
    end.fail("3", &Errno(28), "a text that is longer than its forty-eight bytes of room");
    met && end.abort() && end.place().is_err() && end.sync() == Err(Unmet::Aborted(None))
}

fn in_the_parent<L: Lane>(mut end: ParentEnd<L>, child: &mut Child) {
    for _ in 0..3 {
        assert_eq!(end.place_and_sync_until(soon()), Ok(()));
    }
    assert!(end.place().is_ok());
    assert!(matches!(end.wait_abort_until(soon()), Some(PeerAbort::Aborted(Some(_)))));
    assert_eq!(end_of(child), Ended::Exited(0), "1: a call failed, 2: it allocated");
}

fn once<L: Lane>() {
    let barrier = Barrier::<L>::open().unwrap();
    // SAFETY: the child makes only system calls, as this case shows.
    match unsafe { fork_raw() }.unwrap() {
        Fork::Child(_guard) => {
            let before = Counting::count();
            let met = in_the_child(barrier.into_child());
            let allocated = Counting::count() != before;
            exit(if allocated { 2 } else { i32::from(!met) });
        }
        Fork::Parent(mut child) => in_the_parent(barrier.into_parent(), &mut child),
    }
}

fn a_child_of_threads_that_allocate_all_the_time_asks_for_no_memory<L: Lane>() {
    static OVER: AtomicBool = AtomicBool::new(false);
    let threads: Vec<_> = (1..4)
        .map(|size| {
            std::thread::spawn(move || {
                while !OVER.load(Ordering::Relaxed) {
                    std::hint::black_box(vec![0_u8; size * 100]);
                }
            })
        })
        .collect();
    for _ in 0..TIMES {
        once::<L>();
    }
    OVER.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn a_child_forked_while_the_allocators_lock_is_held_does_not_hang<L: Lane>() {
    let (end, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        HELD.store(true, Ordering::Release);
        // The thread that holds it must not allocate itself.
        while wait.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            std::thread::sleep(Duration::from_millis(1));
        }
        HELD.store(false, Ordering::Release);
    });
    while !HELD.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    for _ in 0..TIMES {
        once::<L>();
    }
    drop(end);
    thread.join().unwrap();
}

/// The lock would hang a child that allocates, and the count would show it.
fn the_lock_and_the_count_show_an_allocation<L: Lane>() {
    let child = |held: bool| {
        // SAFETY: it allocates on purpose, and there is one thread.
        match unsafe { fork_raw() }.unwrap() {
            Fork::Child(_guard) => {
                let mut end = Barrier::<L>::open().unwrap().into_child();
                HELD.store(held, Ordering::Release);
                let before = Counting::count();
                assert!(end.place().is_ok() && Counting::count() == before);
                std::hint::black_box(vec![0_u8; 100]);
                exit(if Counting::count() == before { 0 } else { 2 });
            }
            Fork::Parent(child) => child,
        }
    };
    assert_eq!(end_of(&mut child(false)), Ended::Exited(2));
    let mut hangs = child(true);
    assert!(hangs.wait_until(Instant::now() + Duration::from_millis(100)).is_none());
    hangs.kill().unwrap();
    end_of(&mut hangs);
}

cases! {
    eventfd: Eventfd, page: Page => {
        a_child_of_threads_that_allocate_all_the_time_asks_for_no_memory,
        a_child_forked_while_the_allocators_lock_is_held_does_not_hang,
    }
    page: Page => {
        the_lock_and_the_count_show_an_allocation,
    }
}
