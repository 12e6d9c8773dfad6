//! Both sides over a faulty loopback, driven at random and checked against a model.
//!
//! Everything runs in one thread. Where the worker would wait, and also while a handler runs, main
//! takes steps. A run depends only on its seed, which is printed if the run fails. Set `IPC_SEED`
//! to repeat that run, and `IPC_STEPS` for another number of steps.

mod far;
mod model;
mod near;
mod random;

use core::cell::RefCell;
use core::sync::atomic::AtomicU32;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::vec::Vec as StdVec;

use ipc_transport::{Faults, Faulty, Inbox, Loopback, Outbox};

use self::far::{Killed, Line, Work};
use self::model::{Model, Refused, Told};
use self::near::{Main, World};
use self::random::{CLOCK, Random, now};
use crate::blocks::NoBlocks;
use crate::caller::Caller;
use crate::counters::Counters;
use crate::ledger::{Credit, How, Words};
use crate::server::{Notes, Paces, Sender, Served, Server};

/// Steps of main in all, and in each run.
const STEPS: u64 = 1_000_000;
const RUN: u64 = 5_000;

/// Bytes that the connection holds in each direction. Most frames are longer.
const WIRE: usize = 90;

const FAULTS: Faults = Faults { cut: 60, delay: 64, fail: 0, drop_fds: 8, disconnect: 0 };

/// One worker, from start to end.
fn live<const SLOTS: usize, const BYTES: usize>(main: &mut Main<SLOTS, BYTES>) {
    let len = Words::page_len(SLOTS);
    let page: StdVec<AtomicU32> = (0..len).map(|_| AtomicU32::new(0)).collect();
    let (words, credit) = Words::of_page(&page);
    let sender = Sender::closed();
    sender.open(BYTES);
    main.caller.offer_all(words);
    main.model.forget_unsettled();
    main.model.forget_notes();
    let mut loopback = Loopback::<WIRE>::new();
    let (ours, theirs) = loopback.ends();
    let faults = Faults { disconnect: u8::from(main.is_stormy), ..FAULTS };
    let link = Some(Faulty::new(ours, faults, main.random.below(u64::MAX)));
    let end = Faulty::new(theirs, faults, main.random.below(u64::MAX));
    let world = RefCell::new(World { main, link, words, credit, is_killed: false });
    let (mut inbox, mut outbox) = (Inbox::new(), Outbox::new());
    let served = catch_unwind(AssertUnwindSafe(|| {
        let mut server = Server::<_, _, SLOTS, BYTES> {
            handler: &mut Work(&world),
            words,
            blocks: NoBlocks,
            inbox: &mut inbox,
            outbox: &mut outbox,
            notes: Notes { sender: &sender, credit },
            finished: None,
            paces: Paces::NEW,
            now,
        };
        server.serve(&mut Line { world: &world, end })
    }));
    match served {
        Err(reason) if !reason.is::<Killed>() => resume_unwind(reason),
        Ok(Served::Broken) => assert!(world.borrow().is_killed, "out of sequence"),
        _ => {}
    }
    let mut world = world.borrow_mut();
    world.bury();
    world.main.account();
    world.main.model.notes_dropped += u64::from(credit.dropped());
}

/// A run of a few thousand steps from one seed.
fn run<const SLOTS: usize, const BYTES: usize>(seed: u64, seen: &mut Seen) -> u64 {
    CLOCK.set(0);
    let (token, mut witness) = UnixStream::pair().unwrap();
    let mut main = Main::<SLOTS, BYTES> {
        caller: Caller::boxed(),
        model: Model::default(),
        random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        token,
        made: StdVec::new(),
        one_ways: StdVec::new(),
        counted: 0,
        steps: 0,
        is_stormy: seed % 16 > 12,
    };
    let gives_up = main.random.one_in(2);
    while main.steps < RUN || (!gives_up && main.caller.table.under_way() > 0) {
        live(&mut main);
    }
    main.caller.lose_all(Words::default());
    main.account();
    while main.caller.table.ended() > 0 {
        main.take_outcome(Credit::default());
    }
    // This closes the descriptors that the last outcome left.
    main.take_outcome(Credit::default());
    let Main { caller, model, token, steps, .. } = main;
    let counters = caller.last.counters;
    seen.add(&model, &counters);
    model.finish(counters.one_ways_lost, counters.one_ways_expired, counters.one_ways_refused);
    assert!(model.answers + counters.stray_replies <= model.answers_made(), "{counters:?}");
    // After the last outcome nothing holds a duplicate any more, so this closes the file.
    drop(token);
    witness.set_nonblocking(true).unwrap();
    match witness.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("a descriptor is left"),
        other => panic!("{other:?}"),
    }
    drop(caller);
    steps
}

/// Reports the seed of a failed run.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::eprintln!("failed with IPC_SEED={}", self.0);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run_seed(seed: u64, seen: &mut Seen) -> u64 {
    let _said = Seed(seed);
    match seed % 4 {
        0 => run::<1, 256>(seed, seen),
        1 => run::<2, 256>(seed, seen),
        2 => run::<5, 700>(seed, seen),
        _ => run::<16, 1024>(seed, seen),
    }
}

/// How often each event has happened that the runs must cover.
#[derive(Debug, Default)]
struct Seen([u64; 25]);

impl Seen {
    fn add(&mut self, model: &Model, counters: &Counters) {
        let more = [
            model.count(|told| told == Told::Reply),
            model.count(|told| told == Told::Refused(Refused::ByHandler)),
            model.count(|told| told == Told::Refused(Refused::FdsLost)),
            model.count(|told| told == Told::Refused(Refused::TooManyFds)),
            model.count(|told| told == Told::Lost(How::NotBegun)),
            model.count(|told| told == Told::Lost(How::Running)),
            model.count(|told| told == Told::Lost(How::Done)),
            model.count(|told| told == Told::SetAside(How::Running)),
            model.count(|told| told == Told::SetAside(How::Done)),
            model.count(|told| told == Told::DeadlinePassed),
            model.count(|told| told == Told::Cancelled),
            model.begun_anew,
            model.begun_after_done,
            model.given_back_fds,
            model.reply_fds,
            model.done_silently,
            counters.one_ways_lost,
            counters.one_ways_expired,
            counters.one_ways_refused,
            counters.stray_replies,
            counters.stray_fds,
            model.notes_of_tags,
            model.late_notes,
            model.notes_dropped,
            model.begun_first,
        ];
        for (count, more) in self.0.iter_mut().zip(more) {
            *count += more;
        }
    }
}

#[test]
fn each_request_has_one_outcome_and_begins_as_often_as_it_may() {
    if let Some(seed) = number("IPC_SEED") {
        run_seed(seed, &mut Seen::default());
        return;
    }
    let mut seen = Seen::default();
    let (steps, mut done, mut seed) = (number("IPC_STEPS").unwrap_or(STEPS), 0, 0);
    while done < steps {
        done += run_seed(seed, &mut seen);
        seed += 1;
    }
    std::println!("{done} steps in {seed} runs: {seen:?}");
    assert!(seen.0.iter().all(|&count| count > 50), "{seen:?}");
}
