//! Models of the lane in memory, for loom: `cargo xtask loom`. loom tries every order in which the
//! two sides can see each other's words.
//!
//! A bell is a count under a lock, and no wait has a deadline. So a lost wake-up is a deadlock,
//! which loom reports.
//!
//! Limits of loom: a load never sees a later store, and the number of preemptions is bounded.
//! `SeqCst` is weaker in loom than in reality, but the words do not use it.

use core::sync::atomic::Ordering::Relaxed;
use std::vec::Vec;

use ipc_transport::Errno;
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
use loom::thread;

use super::atomic::AtomicU32;
use super::errors::PeerAbort;
use super::memory::{WORDS, leave, reason};
use super::rules::{ABORT, GONE, Rules, TOKEN};
use super::word::{ASLEEP, Posted, arm, post, take};
use crate::process::Reason;

/// Most unread rings at any time; see [`Page`](super::page::Page).
const RINGS: usize = 3;

/// One direction: the word, and its bell.
struct Lane {
    word: AtomicU32,
    bell: Mutex<Bell>,
    rung: Condvar,
}

#[derive(Default)]
struct Bell {
    rings: usize,
    is_closed: bool,
}

impl Lane {
    fn new() -> Self {
        let bell = Mutex::new(Bell::default());
        Self { word: AtomicU32::new(ASLEEP), bell, rung: Condvar::new() }
    }

    fn bell(&self) -> MutexGuard<'_, Bell> {
        self.bell.lock().unwrap()
    }

    fn post(&self, value: u64) {
        match post(&self.word, value) {
            Posted::ToSleeper => {
                let mut bell = self.bell();
                bell.rings += 1;
                assert!(bell.rings <= RINGS);
                self.rung.notify_one();
            }
            posted => assert_eq!(posted, Posted::Quietly),
        }
    }

    /// Ends the writer.
    fn close(&self) {
        self.bell().is_closed = true;
        self.rung.notify_one();
    }

    /// As [`look`](super::wait::look) without a deadline.
    fn look(&self) -> u64 {
        let early = take(&self.word);
        if early != 0 {
            return early;
        }
        if !arm(&self.word) {
            return 0;
        }
        let mut bell = self.bell();
        while bell.rings == 0 && !bell.is_closed {
            bell = self.rung.wait(bell).unwrap();
        }
        let shown = if bell.rings == 0 { GONE } else { 0 };
        bell.rings = 0;
        drop(bell);
        let taken = take(&self.word);
        if taken == 0 { shown } else { taken }
    }

    /// The same with a deadline that passes at once: the mark stays.
    fn look_in_vain(&self) -> u64 {
        let early = take(&self.word);
        if early == 0 {
            arm(&self.word);
        }
        early
    }
}

/// Runs one side in a second thread and the other in this one.
fn two<T: Send + Sync + 'static>(new: fn() -> T, one: fn(&T), other: fn(&T)) {
    loom::model(move || {
        let both = Arc::new(new());
        let shared = Arc::clone(&both);
        let thread = thread::spawn(move || one(&shared));
        other(&both);
        thread.join().unwrap();
    });
}

/// One side posts tokens and ends, the other takes them.
struct OneWay {
    lane: Lane,
    /// Written before each token.
    places: [AtomicU32; 2],
}

impl OneWay {
    fn new() -> Self {
        Self { lane: Lane::new(), places: [0; 2].map(AtomicU32::new) }
    }

    fn post_all(&self) {
        for place in &self.places {
            place.store(1, Relaxed);
            self.lane.post(TOKEN);
        }
        self.lane.close();
    }

    /// Ends between the last post and the ring for it.
    fn post_all_and_die(&self) {
        let [first, last] = &self.places;
        first.store(1, Relaxed);
        self.lane.post(TOKEN);
        last.store(1, Relaxed);
        post(&self.lane.word, TOKEN);
        self.lane.close();
    }

    /// Takes all tokens until the writer's end.
    fn take_all(&self, mut look: impl FnMut(&Lane) -> u64) {
        let mut taken = 0;
        loop {
            let drained = look(&self.lane);
            if drained == GONE {
                break;
            }
            taken += usize::try_from(drained).unwrap();
            for place in &self.places[..taken] {
                assert_eq!(place.load(Relaxed), 1, "what was written before the token shows");
            }
        }
        assert_eq!(taken, self.places.len());
    }
}

#[test]
fn all_tokens_come_before_the_end_and_no_wake_up_is_lost() {
    two(OneWay::new, OneWay::post_all, |both| both.take_all(Lane::look));
}

#[test]
fn tokens_of_a_side_that_dies_before_it_rings_are_taken() {
    two(OneWay::new, OneWay::post_all_and_die, |both| both.take_all(Lane::look));
}

#[test]
fn waits_that_run_out_of_time_lose_no_wake_up() {
    two(OneWay::new, OneWay::post_all, |both| {
        let mut looks = 0;
        both.take_all(|lane| {
            looks += 1;
            if looks % 2 == 1 && looks < 4 { lane.look_in_vain() } else { lane.look() }
        });
    });
}

/// Syncs twice, as one side, by the rules.
fn sync_twice(out: &Lane, incoming: &Lane) {
    let mut rules = Rules::NEW;
    for _ in 0..2 {
        rules.placed();
        out.post(TOKEN);
        while !rules.is_met(Rules::SYNC).unwrap() {
            rules.drained(incoming.look(), || None);
        }
    }
}

#[test]
fn two_sides_meet_twice() {
    let lanes = || [Lane::new(), Lane::new()];
    two(lanes, |[one, other]| sync_twice(one, other), |[one, other]| sync_twice(other, one));
}

#[test]
fn an_abort_brings_its_reason_and_overtakes_tokens() {
    let abort = |(lane, page): &(Lane, Vec<AtomicU32>)| {
        lane.post(TOKEN);
        leave(page, 0, &Reason::new("mount", Errno(1), "/dev"));
        lane.post(ABORT);
        lane.close();
    };
    let new = || (Lane::new(), (0..WORDS).map(|_| AtomicU32::new(0)).collect());
    two(new, abort, |(lane, page)| {
        let mut rules = Rules::NEW;
        while rules.peer.is_none() {
            rules.drained(lane.look(), || reason(page, 0));
        }
        let expected = Reason::new("mount", Errno(1), "/dev");
        assert_eq!(rules.peer, Some(PeerAbort::Aborted(Some(expected))));
    });
}
