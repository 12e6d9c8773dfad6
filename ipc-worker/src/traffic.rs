//! Both sides over a faulty loopback, driven at random and checked against a model.
//!
//! There is one thread: where the worker would wait, main takes its steps, and it takes some while
//! a handler runs. A run follows from its seed alone, which is printed if it fails. Set
//! `IPC_SEED` to run only that one, and `IPC_STEPS` for another number of steps.

mod model;

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::vec::Vec as StdVec;

use heapless::{Vec, VecView};
use ipc_transport::{
    Faults, Faulty, Inbox, Instant, Loopback, LoopbackEnd, Outbox, PassFds, Received, Transport,
    TransportError,
};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use self::model::{LIMIT, Model, Told};
use crate::call::{Again, Call, Why};
use crate::caller::{Answer, Caller};
use crate::counters::Counters;
use crate::event::Lost;
use crate::event::Outcome;
use crate::handler::{Handler, Reply, Request};
use crate::refusal::Refusal;
use crate::serve::{Served, Server, reply_capacity};
use crate::slots::{RequestId, Slots};
use crate::table::Ending;

/// Steps of main in all, and in one run.
const STEPS: u64 = 1_000_000;
const RUN: u64 = 5_000;
/// Steps after which a run that should come to its end is stuck.
const STUCK: u64 = 100_000;

/// Bytes that the connection holds in each direction: less than most frames.
const WIRE: usize = 90;

const FAULTS: Faults =
    Faults { split: 60, truncate: 60, delay: 30, fail: 0, drop_fds: 8, disconnect: 0 };

std::thread_local! {
    static CLOCK: Cell<u64> = const { Cell::new(0) };
}

fn now() -> Instant {
    Instant::from_nanoseconds(CLOCK.get())
}

/// Random numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }

    fn len(&mut self, limit: usize) -> usize {
        // Mostly short, sometimes as long as may be.
        let limit = u64::try_from(limit).unwrap();
        let most = if self.below(4) == 0 { limit } else { limit.min(20) };
        usize::try_from(self.below(most + 1)).unwrap()
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// Main's side and all that a run keeps.
struct Main<const SLOTS: usize, const BYTES: usize> {
    caller: Caller<u32, SLOTS, BYTES>,
    model: Model,
    random: Random,
    /// A duplicate of this is every descriptor that is passed.
    token: UnixStream,
    made: StdVec<(RequestId, u32)>,
    steps: u64,
    resets: u64,
}

/// Main while one worker lives, and its end of the connection until it gives the worker up.
struct World<'l, const SLOTS: usize, const BYTES: usize> {
    main: &'l mut Main<SLOTS, BYTES>,
    link: Option<Faulty<LoopbackEnd<'l, WIRE>>>,
    slots: &'l Slots,
    /// The worker has no further instruction.
    is_killed: bool,
}

impl<'l, const SLOTS: usize, const BYTES: usize> World<'l, SLOTS, BYTES> {
    fn slots(&self) -> Option<&'l Slots> {
        self.link.as_ref().map(|_| self.slots)
    }

    fn is_over(&self) -> bool {
        self.main.steps >= RUN && self.main.caller.table.under_way() == 0
    }

    /// Does one thing, at random.
    fn step(&mut self) {
        self.main.steps += 1;
        assert!(self.main.steps < RUN + STUCK, "no end: {:?}", self.main.caller.counters);
        let is_ending = self.main.steps > RUN;
        match self.main.random.below(1000) {
            0..350 if !is_ending => self.take(),
            350..400 if !is_ending => self.cancel(),
            400..440 => CLOCK.set(CLOCK.get() + self.main.random.below(400_000)),
            440..750 => self.turn(),
            750..752 if !is_ending => self.is_killed = true,
            752..754 if !is_ending => self.give_up(),
            _ => self.main.take_outcome(),
        }
    }

    fn take(&mut self) {
        let slots = self.slots();
        let Main { caller, model, random, token, made, .. } = &mut *self.main;
        let number = model.next();
        let filler = [7; BYTES];
        let len = random.len(BYTES - 28);
        let pieces: [&[u8]; 2] = [&number.to_le_bytes(), &filler[..len]];
        let fds = [token.as_fd(); 3];
        let fd_count = random.len(3) * usize::from(random.one_in(3));
        let deadline =
            random.one_in(3).then(|| now() + Duration::from_nanos(random.below(900_000)));
        let again = [Again::IfNotBegun, Again::Always, Again::Never];
        let again = again[usize::try_from(random.below(3)).unwrap()];
        let call = Call { method: 1, pieces: &pieces, fds: &fds[..fd_count], deadline, again };
        let has_room = caller.has_room_for(len + 4, fd_count, slots);
        let is_one_way = random.one_in(3);
        let refused = if is_one_way {
            caller.send(&call, slots).err()
        } else {
            match caller.call(&call, number, slots) {
                Ok(id) => {
                    made.push((id, number));
                    None
                }
                Err(not_taken) => {
                    assert_eq!(not_taken.tag, number);
                    Some(not_taken.why)
                }
            }
        };
        match refused {
            None => model.taken(is_one_way, again, deadline, fd_count),
            Some(why) => assert!(why == Why::Full && !has_room, "{why:?}"),
        }
    }

    /// Cancels one of the last requests, whatever has become of it.
    fn cancel(&mut self) {
        let slots = self.slots();
        let Main { caller, model, random, made, .. } = &mut *self.main;
        let back = usize::try_from(random.below(10)).unwrap();
        if let Some(&(id, number)) = made.len().checked_sub(1 + back).map(|at| &made[at]) {
            if caller.cancel(id, slots) {
                model.cancel(number);
            }
        }
    }

    fn turn(&mut self) {
        let slots = self.slots();
        let caller = &mut self.main.caller;
        caller.expire(now(), slots);
        let Some(link) = &mut self.link else { return };
        let sent = caller.outbox.flush(link).map(|_| ());
        let received = caller.inbox.receive(link).map(|_| ());
        caller.reclaim(slots);
        if sent.and(received).is_err() {
            self.give_up();
        }
    }

    /// Gives the worker up, which may go on for a while with what it was sent.
    fn give_up(&mut self) {
        if self.link.take().is_some() {
            while self.main.caller.inbox.has_frame() {
                self.main.take_outcome();
            }
            self.main.caller.settle_fates(self.slots, LIMIT);
            self.main.caller.begin_anew();
            self.main.resets += 1;
        }
    }

    /// Takes the last words of a worker that is gone, and its requests' fates.
    fn bury(&mut self) {
        while let Some(link) = &mut self.link {
            let received = self.main.caller.inbox.receive(link);
            while self.main.caller.inbox.has_frame() {
                self.main.take_outcome();
            }
            if received.is_err() {
                self.give_up();
            }
        }
    }
}

impl<const SLOTS: usize, const BYTES: usize> Main<SLOTS, BYTES> {
    fn take_outcome(&mut self) {
        let Self { caller, model, .. } = self;
        match caller.next_answer().unwrap() {
            Some(Answer::Reply(number)) => {
                let Outcome::Reply(mut reply) = caller.reply() else { panic!("no reply") };
                let (head, filler) = reply.bytes().split_first_chunk::<5>().unwrap();
                assert_eq!(head[..4], number.to_le_bytes(), "another request's reply");
                assert!(filler.iter().all(|&byte| byte == 8), "mixed bytes");
                let mut fd_count = 0;
                // Half of them are left to be closed with the view.
                while fd_count < head[4] && reply.take_fd().is_some() {
                    fd_count += 1;
                }
                assert!(fd_count == head[4] || reply.fds_lost().is_some());
                model.tell(number, Told::Reply, now());
            }
            Some(Answer::Refused(number, refusal)) => {
                let fds_lost = refusal == Refusal::FDS_LOST;
                model.tell(number, Told::Refused { fds_lost }, now());
            }
            None => {
                if let Some((number, ending)) = caller.next_ended() {
                    let told = match ending {
                        Ending::Lost(lost) => Told::Lost(lost),
                        Ending::DeadlinePassed => Told::DeadlinePassed,
                        Ending::Cancelled => Told::Cancelled,
                    };
                    model.tell(number, told, now());
                }
            }
        }
    }
}

type Shared<'w, 'l, const SLOTS: usize, const BYTES: usize> = &'w RefCell<World<'l, SLOTS, BYTES>>;

/// What a process that was killed in its handler leaves by.
struct Killed;

/// The worker's handler, during which main goes on.
struct Work<'w, 'l, const SLOTS: usize, const BYTES: usize>(Shared<'w, 'l, SLOTS, BYTES>);

impl<const SLOTS: usize, const BYTES: usize> Handler for Work<'_, '_, SLOTS, BYTES> {
    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        let number = u32::from_le_bytes(*request.bytes().first_chunk().unwrap());
        let mut fd_count = 0;
        while request.take_fd().is_some() {
            fd_count += 1;
        }
        let mut world = self.0.borrow_mut();
        world.main.model.begin(number, fd_count);
        while world.main.random.one_in(2) {
            world.step();
        }
        if world.is_killed {
            drop(world);
            resume_unwind(std::boxed::Box::new(Killed));
        }
        let is_done = !world.main.random.one_in(8);
        world.main.model.end(number, is_done);
        if !is_done {
            return Err(Refusal::new(5, "no"));
        }
        let fd_count = u8::try_from(world.main.random.len(3)).unwrap();
        let fd_count = fd_count * u8::from(world.main.random.one_in(3));
        reply.put(&number.to_le_bytes())?;
        reply.put(&[fd_count])?;
        for _ in 0..world.main.random.len(reply_capacity(BYTES) - 5) {
            reply.put(&[8])?;
        }
        for _ in 0..fd_count {
            reply.put_fd(world.main.token.as_fd().try_clone_to_owned().unwrap())?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Refusal> {
        match self.0.borrow_mut().main.random.one_in(500) {
            true => Err(Refusal::new(5, "no")),
            false => Ok(()),
        }
    }
}

/// The worker's end: where it would block, main takes steps.
struct Line<'w, 'l, const SLOTS: usize, const BYTES: usize> {
    world: Shared<'w, 'l, SLOTS, BYTES>,
    end: Faulty<LoopbackEnd<'l, WIRE>>,
}

impl<const SLOTS: usize, const BYTES: usize> Line<'_, '_, SLOTS, BYTES> {
    /// Makes a call that waits.
    fn wait<T>(
        &mut self,
        mut call: impl FnMut(&mut Faulty<LoopbackEnd<'_, WIRE>>) -> Result<Option<T>, TransportError>,
    ) -> Result<Option<T>, TransportError> {
        loop {
            if self.world.borrow().is_killed {
                return Err(Faults::ERROR);
            }
            if let Some(answer) = call(&mut self.end)? {
                return Ok(Some(answer));
            }
            let mut world = self.world.borrow_mut();
            if world.is_over() {
                world.give_up();
            }
            world.step();
        }
    }
}

impl<const SLOTS: usize, const BYTES: usize> Transport for Line<'_, '_, SLOTS, BYTES> {
    fn send(&mut self, pieces: &[&[u8]]) -> Result<Option<usize>, TransportError> {
        self.wait(|end| end.send(pieces))
    }

    fn receive(&mut self, space: &mut [u8]) -> Result<Option<usize>, TransportError> {
        self.wait(|end| end.receive(space))
    }
}

impl<const SLOTS: usize, const BYTES: usize> PassFds for Line<'_, '_, SLOTS, BYTES> {
    fn send_with(
        &mut self,
        pieces: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Option<usize>, TransportError> {
        self.wait(|end| end.send_with(pieces, fds))
    }

    fn receive_with(
        &mut self,
        space: &mut [u8],
        fds: &mut VecView<OwnedFd>,
    ) -> Result<Option<Received>, TransportError> {
        self.wait(|end| end.receive_with(space, fds))
    }
}

/// One worker from its start to its end.
fn live<const SLOTS: usize, const BYTES: usize>(main: &mut Main<SLOTS, BYTES>) {
    let slots = Slots::new(SLOTS).unwrap();
    main.caller.queue_all(&slots);
    let mut loopback = Loopback::<WIRE>::new();
    let (ours, theirs) = loopback.ends();
    let link = Some(Faulty::new(ours, FAULTS, main.random.below(u64::MAX)));
    let end = Faulty::new(theirs, FAULTS, main.random.below(u64::MAX));
    let world = RefCell::new(World { main, link, slots: &slots, is_killed: false });
    let (mut inbox, mut outbox) = (Inbox::new(), Outbox::new());
    let served = catch_unwind(AssertUnwindSafe(|| {
        let mut server = Server::<_, SLOTS, BYTES> {
            handler: &mut Work(&world),
            slots: &slots,
            inbox: &mut inbox,
            outbox: &mut outbox,
            finished: Vec::new(),
            now,
        };
        server.serve(&mut Line { world: &world, end })
    }));
    match served {
        Err(reason) if !reason.is::<Killed>() => resume_unwind(reason),
        Ok(Served::Broken) => assert!(world.borrow().is_killed, "out of step"),
        _ => {}
    }
    world.borrow_mut().bury();
}

/// A run of some thousand steps from one seed.
fn run<const SLOTS: usize, const BYTES: usize>(seed: u64, seen: &mut Seen) -> u64 {
    let (token, mut witness) = UnixStream::pair().unwrap();
    let mut main = Main::<SLOTS, BYTES> {
        caller: Caller::new(),
        model: Model::default(),
        random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        token,
        made: StdVec::new(),
        steps: 0,
        resets: 0,
    };
    let gives_up = main.random.one_in(2);
    while main.steps < RUN || (!gives_up && main.caller.table.under_way() > 0) {
        live(&mut main);
    }
    main.caller.lose_all(None);
    while main.caller.table.has_ended() {
        main.take_outcome();
    }
    let Main { caller, model, token, steps, .. } = main;
    let counters = caller.counters;
    seen.add(&model, &counters);
    model.finish(counters.one_ways_lost, counters.one_ways_expired, counters.one_ways_refused);
    assert!(model.answers + counters.stray_replies <= model.answers_made(), "{counters:?}");
    // With every outcome told nothing is held any more: the last duplicate is closed.
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

/// Says which run it was that failed.
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

/// How often each thing has happened that the runs are to meet with.
#[derive(Debug, Default)]
struct Seen([u64; 15]);

impl Seen {
    fn add(&mut self, model: &Model, counters: &Counters) {
        let more = [
            model.count(|told| told == Told::Reply),
            model.count(|told| told == Told::Refused { fds_lost: false }),
            model.count(|told| told == Told::Refused { fds_lost: true }),
            model.count(|told| told == Told::Lost(Lost::NotBegun)),
            model.count(|told| told == Told::Lost(Lost::Running)),
            model.count(|told| told == Told::Lost(Lost::Done)),
            model.count(|told| told == Told::DeadlinePassed),
            model.count(|told| told == Told::Cancelled),
            model.begun_anew,
            counters.one_ways_lost,
            counters.one_ways_expired,
            counters.one_ways_refused,
            counters.one_ways_told,
            counters.stray_replies,
            counters.stray_fds,
        ];
        for (count, more) in self.0.iter_mut().zip(more) {
            *count += more;
        }
    }
}

#[test]
fn each_request_has_one_outcome_and_begins_at_most_once() {
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
