//! Pools: by idleness or by key, and deaths or slowness of one worker do not affect the others.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use ipc_tests::over;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use ipc_tests::fds;
use ipc_tests::forked::soon;
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{
    Again, Call, Event, Handler, Instant, Launch, Outcome, Pool, Reason, Refusal, Reply, Request,
    Restart, StartError, Why,
};
use rustix::io::ioctl_fionread;
use rustix::pipe::pipe;
use rustix::process::{Pid, Signal, kill_process};

const ECHO: u16 = 1;
const PID: u16 = 2;
/// Returns only once the pipe is closed.
const HOLD: u16 = 3;

fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    match request.method() {
        ECHO => reply.put(request.bytes()),
        PID => reply.put(&std::process::id().to_le_bytes()),
        _ => {
            let [input] = request.take_fds()?;
            File::from(input).read_to_end(&mut Vec::new())?;
            Ok(())
        }
    }
}

fn pool<const N: usize>() -> Pool<u32, impl Launch, N, 8, 4096> {
    Pool::start(|_| Ok(over::fork(handle).restart(Restart::AT_ONCE))).unwrap()
}

/// An outcome: the worker, the tag, and the reply's bytes if it is a reply.
type Told = (usize, u32, Option<Vec<u8>>);

/// Turns like a daemon's loop until `count` outcomes were told.
fn turn_until<L: Launch, const N: usize>(
    pool: &mut Pool<u32, L, N, 8, 4096>,
    count: usize,
) -> Vec<Told> {
    let (mut list, limit) = (Vec::new(), soon());
    loop {
        pool.turn(Instant::now());
        while let Some((worker, event)) = pool.next_event() {
            if let Event::Done { tag, outcome } = event {
                let bytes = match outcome {
                    Outcome::Reply(reply) => Some(reply.bytes().to_vec()),
                    _ => None,
                };
                list.push((worker, tag, bytes));
            }
        }
        if list.len() >= count {
            return list;
        }
        assert!(Instant::now() < limit, "{list:?}");
        let deadline = pool.next_deadline().map_or(limit, |next| next.min(limit));
        wait(&mut [Watched::new(pool.as_fd(), Interest::Input)], Some(deadline)).unwrap();
    }
}

fn idle_workers_come_first_and_a_slow_one_holds_no_other() {
    let mut pool = pool::<3>();
    let (input, output) = pipe().unwrap();
    let slow = pool.try_call(Call::new(HOLD, &[]).fds(&[input.as_fd()]), 0).unwrap();
    drop(input);
    // While one worker is held, all requests go to the two idle ones.
    for tag in 1..=20 {
        assert_ne!(pool.try_call(Call::new(ECHO, &[b"x"]), tag).unwrap().worker, slow.worker);
        let [told] = &turn_until(&mut pool, 1)[..] else { panic!("one outcome") };
        assert_eq!((told.1, told.2.as_deref()), (tag, Some(&b"x"[..])));
    }
    drop(output);
    let list = turn_until(&mut pool, 1);
    assert_eq!(list, [(slow.worker, 0, Some(Vec::new()))]);
}

fn what_finds_no_idle_worker_is_refused_or_waits_by_the_depth() {
    let mut pool = pool::<2>();
    let (input, output) = pipe().unwrap();
    let fds = [input.as_fd()];
    pool.depth = 1;
    for tag in 0..2 {
        assert!(pool.has_room());
        pool.try_call(Call::new(HOLD, &[]).fds(&fds), tag).unwrap();
    }
    assert!(!pool.has_room());
    assert_eq!(pool.try_call(Call::new(ECHO, &[]), 2).unwrap_err().why, Why::Full);
    assert_eq!(pool.try_send(Call::new(ECHO, &[])).unwrap_err().why, Why::Full);
    let limit = Instant::now() + core::time::Duration::from_millis(20);
    let error = pool.call_until(Call::new(ECHO, &[]), 3, limit, |_, _| ()).unwrap_err();
    assert_eq!((error.tag, error.why), (3, Why::Full));
    pool.depth = 2;
    let waiting = [4, 5].map(|tag| pool.try_call(Call::new(ECHO, &[]), tag).unwrap());
    assert_ne!(waiting[0].worker, waiting[1].worker, "it goes to the shorter queue");
    assert!(!pool.has_room());
    assert!(pool.cancel(waiting[1]) && !pool.cancel(waiting[1]));
    drop((input, output));
    let list = turn_until(&mut pool, 4);
    let tags: Vec<u32> = list.iter().map(|told| told.1).collect();
    assert!([0, 1, 4, 5].iter().all(|tag| tags.contains(tag)), "{list:?}");
}

fn requests_of_one_key_keep_their_worker_and_their_order() {
    let mut pool = pool::<3>();
    let pids: Vec<i32> = pool.workers().iter().map(|worker| worker.pid().unwrap()).collect();
    for round in 0..10 {
        for key in 0..6_u64 {
            let tag = round * 10 + u32::try_from(key).unwrap();
            pool.try_call(Call::new(PID, &[]).key(key), tag).unwrap();
        }
        let list = turn_until(&mut pool, 6);
        for (worker, tag, bytes) in &list {
            assert_eq!(*worker, (*tag as usize % 10) % 3);
            assert_eq!(bytes.as_deref(), Some(&pids[*worker].to_le_bytes()[..]));
        }
        for key in 0..3 {
            let of_key = |told: &&Told| told.1 % 10 % 3 == key;
            let tags: Vec<u32> = list.iter().filter(of_key).map(|told| told.1).collect();
            assert!(tags.is_sorted(), "{list:?}");
        }
    }
}

fn a_death_concerns_the_requests_of_that_worker_only() {
    let mut pool = pool::<3>();
    let before = fds::open().len();
    for round in 0..20 {
        for tag in 0..9 {
            let call = Call::new(ECHO, &[b"x"]).again(Again::UntilAnswered).tries(200);
            pool.try_call(call, tag).unwrap();
        }
        let victim = &pool.workers()[round % 3];
        match round % 2 {
            0 => kill_process(Pid::from_raw(victim.pid().unwrap()).unwrap(), Signal::KILL).unwrap(),
            _ => pool.kill(round % 3),
        }
        let mut list = turn_until(&mut pool, 9);
        list.sort();
        let mut tags: Vec<u32> = list.iter().map(|told| told.1).collect();
        tags.sort_unstable();
        assert_eq!(tags, (0..9).collect::<Vec<_>>());
        assert!(list.iter().all(|told| told.2.is_some()), "{list:?}");
        while pool.workers().iter().any(|worker| worker.pid().is_none()) {
            turn_until(&mut pool, 0);
        }
    }
    assert_eq!(fds::open().len(), before);
    let mut ended = 0;
    pool.stop(soon(), |_, _| ended += 1);
    assert_eq!(ended, 0);
    drop(pool);
    assert!(fds::children().is_empty());
}

fn stop_gives_every_outcome_and_leaves_no_process() {
    let mut pool = pool::<3>();
    for tag in 0..20 {
        pool.try_call(Call::new(ECHO, &[b"x"]), tag).unwrap();
    }
    let mut tags = Vec::new();
    pool.stop(soon(), |_, event| {
        let Event::Done { tag, outcome: Outcome::Reply(_) } = event else { panic!("{event:?}") };
        tags.push(tag);
    });
    tags.sort_unstable();
    assert_eq!(tags, (0..20).collect::<Vec<_>>());
    assert!(fds::children().is_empty());
    assert_eq!(pool.try_call(Call::new(ECHO, &[]), 1).unwrap_err().why, Why::Stopped);
}

/// The third worker's `prepare` fails.
struct Third(usize);

impl Handler for Third {
    fn prepare(&mut self) -> Result<(), Reason> {
        if self.0 == 2 { Err(Reason::new("third", ipc_worker::Errno(5), "")) } else { Ok(()) }
    }

    fn handle(&mut self, _: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> {
        Ok(())
    }
}

fn a_pool_of_which_one_does_not_start_leaves_nothing() {
    let before = fds::open();
    let started = Pool::<u32, _, 4>::start(|index| Ok(over::fork(Third(index))));
    let Err(StartError::Failed(reason)) = started else { panic!("it started") };
    assert_eq!(reason.stage.as_str(), "third");
    assert_eq!(fds::open(), before);
    assert!(fds::children().is_empty());
}

/// A flood from one worker does not delay another's events.
fn events_are_taken_from_each_in_turn() {
    let mut pool = pool::<2>();
    let (mut tag, mut turns) = (0, 0);
    let limit = soon();
    while turns < 50 {
        for key in [0, 0, 0, 0, 1] {
            _ = pool.try_call(Call::new(ECHO, &[b"one"]).key(key), tag);
            tag += 1;
        }
        pool.turn(Instant::now());
        let mut order = Vec::new();
        while let Some((worker, event)) = pool.next_event() {
            assert!(matches!(event, Event::Done { .. }));
            order.push(worker);
        }
        // Counted while both have events; how many depends on the machine.
        let of = |worker| order.iter().filter(|&&it| it == worker).count();
        let both = of(0).min(of(1));
        assert!(order[..2 * both].chunks(2).all(|pair| pair[0] != pair[1]), "{order:?}");
        // A worker with many more events than the other shows what comes first.
        turns += usize::from(both > 0 && order.len() > 2 * both);
        assert!(Instant::now() < limit, "{turns}");
    }
    pool.stop(soon(), |_, _| ());
    assert_eq!(pool.workers()[0].pid(), None);
}

/// Waits until a handler reads the pipe.
fn has_begun(input: &OwnedFd, output: &mut File) {
    output.write_all(b"x").unwrap();
    let limit = soon();
    while ioctl_fionread(input).unwrap() > 0 {
        assert!(Instant::now() < limit, "it has not begun");
        std::thread::sleep(core::time::Duration::from_millis(1));
    }
}

/// Its worker seemed idle, so it got every further request.
fn repro_a_worker_that_still_runs_what_was_given_up_is_not_idle() {
    let mut pool = pool::<2>();
    let (input, output) = pipe().unwrap();
    let held = pool.try_call(Call::new(HOLD, &[]).fds(&[input.as_fd()]), 0).unwrap();
    pool.turn(Instant::now());
    let mut output = File::from(output);
    has_begun(&input, &mut output);
    assert!(pool.cancel(held));
    turn_until(&mut pool, 1);
    for tag in 1..5 {
        let other = pool.try_call(Call::new(ECHO, &[b"x"]), tag).unwrap();
        assert_ne!(other.worker, held.worker);
        turn_until(&mut pool, 1);
    }
    pool.depth = 1;
    let key = held.worker as u64;
    let refused = pool.try_call(Call::new(ECHO, &[b"x"]).key(key), 5).unwrap_err();
    assert_eq!(refused.why, Why::Full, "it is busy");
    drop(output);
    // Its late answer is not an event. The pool says by its deadline that there is room again.
    let limit = soon();
    while pool.next_deadline() != Some(Instant::PAST) {
        wait(&mut [Watched::new(pool.as_fd(), Interest::Input)], Some(limit)).unwrap();
        pool.turn(Instant::now());
        assert!(pool.next_event().is_none());
        assert!(Instant::now() < limit, "it is not told");
    }
    pool.try_call(Call::new(ECHO, &[b"x"]).key(key), 6).unwrap();
    turn_until(&mut pool, 1);
}

/// One long request that fills its worker's queue made the pool full.
fn repro_a_worker_without_room_does_not_fill_the_pool() {
    let mut pool = pool::<2>();
    let (input, _output) = pipe().unwrap();
    let long = [7; 3500];
    let (pieces, fds) = ([&long[..]], [input.as_fd()]);
    let held = pool.try_call(Call::new(HOLD, &pieces).fds(&fds), 0).unwrap();
    for tag in 1..4 {
        assert!(pool.has_room());
        let other = pool.try_call(Call::new(ECHO, &[&long[..1000]]), tag).unwrap();
        assert_ne!(other.worker, held.worker);
    }
    turn_until(&mut pool, 3);
}

/// A request that was given up still has its worker's only block.
fn a_request_that_needs_a_block_goes_to_a_worker_that_has_one() {
    let start = |_| Ok(over::fork(handle).blocks::<1>(100));
    let mut pool = Pool::<u32, _, 2, 8, 4096>::start(start).unwrap();
    let (input, output) = pipe().unwrap();
    let held = pool.try_call(Call::new(HOLD, &[]).fds(&[input.as_fd()]).block(&[]), 0).unwrap();
    let started = pool.try_call(Call::new(ECHO, &[b"x"]).key(1 - held.worker as u64), 1).unwrap();
    assert_ne!(started.worker, held.worker);
    turn_until(&mut pool, 1);
    let mut output = File::from(output);
    has_begun(&input, &mut output);
    assert!(pool.cancel(held));
    turn_until(&mut pool, 1);
    for tag in 2..5 {
        assert!(pool.has_block());
        let other = pool.try_call(Call::new(ECHO, &[b"x"]).block(&[]), tag).unwrap();
        assert_ne!(other.worker, held.worker);
        turn_until(&mut pool, 1);
    }
    drop((input, output));
}

/// A worker that was given up counted as one with a free block.
fn repro_a_pool_has_no_block_if_only_a_worker_that_was_given_up_has_none_lent() {
    let start = |_| Ok(over::fork(handle).restart(Restart::NEVER).blocks::<1>(100));
    let mut pool = Pool::<u32, _, 2, 8, 4096>::start(start).unwrap();
    pool.kill(0);
    let limit = soon();
    while pool.workers()[0].is_running() {
        pool.turn(Instant::now());
        while pool.next_event().is_some() {}
        assert!(Instant::now() < limit, "it is not given up");
    }
    assert!(pool.has_block());
    assert_eq!(pool.try_call(Call::new(ECHO, &[]).block(&[]), 1).unwrap().worker, 1);
    assert!(pool.has_room() && !pool.has_block());
    assert_eq!(pool.try_call(Call::new(ECHO, &[]).block(&[]), 2).unwrap_err().why, Why::Full);
    turn_until(&mut pool, 1);
    assert!(pool.has_block());
}

ipc_tests::cases! {
    repro_a_worker_that_still_runs_what_was_given_up_is_not_idle,
    repro_a_worker_without_room_does_not_fill_the_pool,
    repro_a_pool_has_no_block_if_only_a_worker_that_was_given_up_has_none_lent,
    a_request_that_needs_a_block_goes_to_a_worker_that_has_one,
    idle_workers_come_first_and_a_slow_one_holds_no_other,
    what_finds_no_idle_worker_is_refused_or_waits_by_the_depth,
    requests_of_one_key_keep_their_worker_and_their_order,
    a_death_concerns_the_requests_of_that_worker_only,
    stop_gives_every_outcome_and_leaves_no_process,
    a_pool_of_which_one_does_not_start_leaves_nothing,
    events_are_taken_from_each_in_turn,
}
