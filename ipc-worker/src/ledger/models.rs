//! Models of a request's word and its block for loom, run by `cargo xtask loom`. They cover every
//! order in which main and a worker can see each other's words.
//!
//! A worker that dies takes only the first of its steps. loom has limits: a load never sees a later
//! store, `SeqCst` accesses are treated as weaker than they are (these words have none), and the
//! number of preemptions is bounded.

use core::sync::atomic::Ordering::Relaxed;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::arena::Hold;
use super::atomic::AtomicU32;
use super::fate::How;
use super::id::RequestId;
use super::words::Words;

const ID: RequestId = RequestId { slot: 0, generation: RequestId::GENERATIONS - 1 };
const NEXT: RequestId = RequestId { slot: 0, generation: 0 };

/// Values that main writes before it offers the request, and that the handler writes.
const ASKED: u32 = 7;
const ANSWERED: u32 = 8;

struct Shared {
    words: [AtomicU32; 1],
    request: AtomicU32,
    effect: AtomicU32,
    held: AtomicU32,
    /// The bytes of a block, which only one side may use at a time.
    block: UnsafeCell<u32>,
}

impl Shared {
    fn new() -> Arc<Self> {
        let [word, request, effect, held] = [0; 4].map(AtomicU32::new);
        let block = UnsafeCell::new(ASKED);
        Arc::new(Self { words: [word], request, effect, held, block })
    }

    fn words(&self) -> Words<'_> {
        Words(&self.words)
    }

    fn offer(&self, id: RequestId) {
        self.request.store(ASKED, Relaxed);
        self.words().offer(id);
    }

    /// Takes the first steps of a worker with a request. Returns how far it got.
    fn work(&self, steps: usize) -> How {
        if steps < 1 {
            return How::NotBegun;
        }
        let Some(claim) = self.words().claim(ID) else { return How::NotBegun };
        assert_eq!(self.request.load(Relaxed), ASKED, "a claimed request can be read");
        if steps > 1 {
            self.effect.store(ANSWERED, Relaxed);
        }
        if steps < 3 {
            return How::Running;
        }
        claim.done();
        How::Done
    }

    /// Takes the request back, and checks what the word says.
    fn take_back(&self) -> How {
        let how = self.words().take_back(ID).unwrap();
        if how == How::Done {
            assert_eq!(self.effect.load(Relaxed), ANSWERED, "the handler's work is visible");
        }
        how
    }
}

/// Runs main beside a worker that dies after some steps. Returns what each of them reports.
fn beside_a_worker(steps: usize, main: fn(&Shared) -> How, check: fn(main: How, worker: How)) {
    loom::model(move || {
        let shared = Shared::new();
        let other = Arc::clone(&shared);
        let worker = thread::spawn(move || other.work(steps));
        shared.offer(ID);
        let how = main(&shared);
        check(how, worker.join().unwrap());
    });
}

#[test]
fn a_request_that_is_taken_back_is_the_workers_or_mains_and_never_both() {
    for steps in 0..=3 {
        beside_a_worker(steps, Shared::take_back, |main, worker| match main {
            How::NotBegun => assert_eq!(worker, How::NotBegun, "it must never begin"),
            How::Running => assert_ne!(worker, How::NotBegun),
            How::Done => assert_eq!(worker, How::Done),
        });
    }
}

#[test]
fn a_request_that_is_asked_to_stop_stays_the_workers() {
    let stop_and_take_back = |shared: &Shared| {
        shared.words().ask_to_stop(ID);
        shared.take_back()
    };
    for steps in 0..=3 {
        beside_a_worker(steps, stop_and_take_back, |main, worker| {
            assert_eq!(main == How::NotBegun, worker == How::NotBegun);
        });
    }
}

#[test]
fn the_fate_after_a_death_is_how_far_the_worker_came() {
    for steps in 0..=3 {
        loom::model(move || {
            let shared = Shared::new();
            let other = Arc::clone(&shared);
            let worker = thread::spawn(move || other.work(steps));
            shared.offer(ID);
            shared.words().ask_to_stop(ID);
            let peeked = shared.words().peek(ID);
            let came = worker.join().unwrap();
            assert_eq!(shared.take_back(), came);
            assert!(peeked == came || peeked != How::Done, "{peeked:?} before {came:?}");
        });
    }
}

#[test]
fn a_handler_that_finishes_late_leaves_the_next_request_alone() {
    for steps in 0..=3 {
        loom::model(move || {
            let shared = Shared::new();
            let other = Arc::clone(&shared);
            let worker = thread::spawn(move || other.work(steps));
            shared.offer(ID);
            shared.take_back();
            shared.offer(NEXT);
            worker.join().unwrap();
            assert_eq!(shared.words().peek(NEXT), How::NotBegun);
            assert!(shared.words().claim(NEXT).is_some());
        });
    }
}

#[test]
fn a_block_is_lent_to_no_other_request_while_its_handler_may_look_at_it() {
    for steps in 0..=2 {
        loom::model(move || {
            let shared = Shared::new();
            shared.offer(ID);
            let other = Arc::clone(&shared);
            let worker = thread::spawn(move || {
                let hold = Hold(&other.held);
                if steps < 1 {
                    return;
                }
                if Hold::claim(Some(hold), other.words(), ID).is_some() {
                    other.block.with(|_bytes| ());
                    if steps > 1 {
                        hold.release();
                    }
                }
            });
            shared.take_back();
            if Hold(&shared.held).is_free() {
                shared.block.with_mut(|_bytes| ());
            }
            worker.join().unwrap();
            assert!(steps < 2 || Hold(&shared.held).is_free(), "it is free in the end");
        });
    }
}
