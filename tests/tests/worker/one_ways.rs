//! Requests without an outcome, and waiting for a request to be accepted.

use ipc_tests::over;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use ipc_tests::fds;
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{
    Again, Call, Counters, Ended, Handler, Instant, Launch, Refusal, Reply, Request, Restart,
    Start, Why, Worker,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::handler::*;

/// Returns a file's contents.
fn text(mut file: &File) -> String {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

/// Turns until no one-way request is in flight.
fn finish<L: Launch, const S: usize, const B: usize>(worker: &mut Worker<u32, L, S, B>) {
    let limit = soon();
    while worker.one_ways_under_way() > 0 {
        sleep(worker, limit);
        worker.turn(Instant::now());
        assert!(worker.next_event().is_none());
    }
}

/// Waits like a daemon's loop; a missing wake-up fails the case.
fn sleep<L: Launch, const S: usize, const B: usize>(worker: &Worker<u32, L, S, B>, limit: Instant) {
    let deadline = worker.next_deadline().map_or(limit, |next| next.min(limit));
    wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(deadline)).unwrap();
    assert!(Instant::now() < limit, "never woken: {:?}", worker.counters());
}

fn write<L: Launch>(worker: &mut Worker<u32, L>, file: &File, text: &str) {
    let (pieces, fds) = ([text.as_bytes()], [file.as_fd()]);
    worker.try_send(Call::new(WRITE, &pieces).fds(&fds)).unwrap();
}

pub(crate) fn one_ways_keep_their_order_and_cost_no_answer() {
    let mut worker = worker();
    let file = tempfile::tempfile().unwrap();
    for round in 0..20 {
        write(&mut worker, &file, "a");
        write(&mut worker, &file, "b");
        let fds = [file.as_fd()];
        worker.try_call(Call::new(WRITE, &[b"c"]).fds(&fds), round).unwrap();
    }
    write(&mut worker, &file, "d");
    let list = turn_until(&mut worker, |list| list.len() == 20);
    let expected: Vec<Told> = (0..20).map(|round| Told::Reply(round, Vec::new())).collect();
    assert_eq!(list, expected);
    finish(&mut worker);
    assert_eq!(text(&file), "abc".repeat(20) + "d");
    // Only replies and reports of finished one-ways arrived.
    assert_eq!(worker.counters(), Counters::default());
}

pub(crate) fn one_ways_that_had_not_begun_go_to_the_next_worker_in_order() {
    let mut worker = worker();
    let file = tempfile::tempfile().unwrap();
    let before = fds::open().len();
    let pid = Pid::from_raw(worker.pid().unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    worker.try_call(Call::new(EXIT, &[]), 1).unwrap();
    for text in ["a", "b", "c"] {
        write(&mut worker, &file, text);
    }
    worker.try_call(Call::new(ECHO, &[b"after"]), 2).unwrap();
    worker.turn(Instant::now());
    kill_process(pid, Signal::CONT).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == 4);
    assert_eq!(list[2..], [Told::Started(4), Told::Reply(2, b"after".to_vec())]);
    finish(&mut worker);
    assert_eq!((worker.one_ways_under_way(), worker.under_way()), (0, 0));
    assert_eq!(text(&file), "abc");
    assert_eq!(worker.counters(), Counters::default());
    assert_eq!(fds::open().len(), before, "their descriptors are closed");
}

pub(crate) fn one_ways_that_come_to_nothing_are_counted() {
    let mut worker = worker();
    let file = tempfile::tempfile().unwrap();
    worker.try_send(Call::new(REFUSE, &[])).unwrap();
    worker.try_send(Call::new(ECHO, &[b"nobody reads this"])).unwrap();
    finish(&mut worker);
    assert_eq!(worker.counters().one_ways_refused, 1);

    let time = 200_u64.to_le_bytes();
    worker.try_send(Call::new(SLEEP_MS, &[&time])).unwrap();
    let fds = [file.as_fd()];
    let deadline = Instant::now() + Duration::from_millis(20);
    worker.try_send(Call::new(WRITE, &[b"late"]).fds(&fds).deadline(deadline)).unwrap();
    finish(&mut worker);
    assert_eq!(worker.counters().one_ways_expired, 1);

    worker.try_send(Call::new(EXIT, &[])).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == 2);
    assert_eq!(list, [Told::Died(Ended::Exited(3)), Told::Started(0)]);
    let counters = worker.counters();
    assert_eq!((counters.one_ways_lost, worker.one_ways_under_way()), (1, 0));
    assert_eq!(worker.stop(soon(), |_| ()), Some(Ended::Exited(0)));
    assert_eq!(text(&file), "", "a one-way whose deadline passed never begins");
    assert_eq!(worker.try_send(Call::new(ECHO, &[])).unwrap_err().why, Why::Stopped);
    let counters = worker.counters();
    assert_eq!((counters.one_ways_refused, counters.one_ways_expired), (1, 1));
    assert_eq!((counters.stray_replies, counters.stopped), (0, 1));
}

pub(crate) fn a_one_way_begins_anew_up_to_the_limit_if_that_is_allowed() {
    let start = over::fork(handle).restart(Restart::AT_ONCE);
    let mut worker = Worker::<u32, _>::start(start).unwrap();
    worker.try_send(Call::new(EXIT, &[]).again(Again::UntilDone)).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == 6);
    assert_eq!(list.iter().filter(|told| matches!(told, Told::Died(_))).count(), 3, "{list:?}");
    assert_eq!(worker.counters().one_ways_lost, 1);
}

/// One slot, and only one-ways in flight: main sleeps until there is room again.
pub(crate) fn room_that_one_ways_took_wakes_main_when_it_comes_back() {
    let start = || over::fork(handle);
    let mut worker = Worker::<u32, _, 1, 256>::start(start()).unwrap();
    let mut sent = 0;
    while sent < 3000 {
        match worker.try_send(Call::new(ECHO, &[&[7; 100]])) {
            Ok(()) => sent += 1,
            Err(not_taken) => {
                assert_eq!(not_taken.why, Why::Full);
                sleep(&worker, soon());
            }
        }
        worker.turn(Instant::now());
        assert!(worker.next_event().is_none());
    }
    // The same for bytes: a long request waits for short one-ways.
    let mut worker = Worker::<u32, _, 8, 1024>::start(start()).unwrap();
    for round in 0..300 {
        worker.try_send(Call::new(ECHO, &[b"short"])).unwrap();
        while !worker.has_room_for(1000, 0) {
            sleep(&worker, soon());
            worker.turn(Instant::now());
            while worker.next_event().is_some() {}
        }
        worker.try_call(Call::new(SLEEP_MS, &[&0_u64.to_le_bytes()]), round).unwrap();
        turn_until(&mut worker, |list| list.len() == 1);
    }
}

pub(crate) fn stop_waits_for_one_ways_and_counts_those_that_it_loses() {
    let mut worker = worker();
    let file = tempfile::tempfile().unwrap();
    let fds = [file.as_fd()];
    for _ in 0..30 {
        worker.try_send(Call::new(APPEND_BYTE, &[b"x"]).fds(&fds)).unwrap();
    }
    assert_eq!(worker.stop(soon(), |event| panic!("{event:?}")), Some(Ended::Exited(0)));
    assert_eq!(text(&file), "x".repeat(30));
    assert_eq!((worker.one_ways_under_way(), worker.counters()), (0, Counters::default()));

    let mut worker = crate::handler::worker();
    worker.try_send(Call::new(SLEEP_MS, &[&LONG])).unwrap();
    worker.try_send(Call::new(ECHO, &[])).unwrap();
    let deadline = Instant::now() + Duration::from_millis(100);
    assert_eq!(worker.stop(deadline, |event| panic!("{event:?}")), Some(Ended::Killed(9)));
    assert_eq!((worker.one_ways_under_way(), worker.counters().one_ways_lost), (0, 2));
}

/// Records in a file which requests it gets, and when it settles.
struct Noting(File);

impl Handler for Noting {
    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        rustix::io::write(&self.0, request.bytes())?;
        let mut count = 0;
        while request.take_fd().is_some() {
            count += 1;
        }
        rustix::io::write(&self.0, format!("{count}").as_bytes())?;
        if !request.is_one_way() {
            reply.put(b"answer")?;
        }
        if request.method() == REFUSE { Err(Refusal::new(1, "no")) } else { Ok(()) }
    }

    fn settle(&mut self) -> Result<(), Refusal> {
        rustix::io::write(&self.0, b";")?;
        Ok(())
    }

    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [self.0.as_fd()].into_iter()
    }
}

pub(crate) fn one_ways_alone_are_settled_and_carry_descriptors() {
    let file = tempfile::tempfile().unwrap();
    let before = fds::open().len();
    for count in [0, 1, 100, 253] {
        file.set_len(0).unwrap();
        (&file).seek(SeekFrom::Start(0)).unwrap();
        let noting = || Noting(file.try_clone().unwrap());
        send_one(Worker::<u32, _>::start(Start::inline(noting())).unwrap(), count);
        send_one(Worker::<u32, _>::start(over::fork(noting())).unwrap(), count);
        assert_eq!(text(&file), format!("fds: {count};").repeat(2));
    }
    assert_eq!(fds::open().len(), before);
}

/// Lets a worker record one one-way with `fd_count` descriptors, and stops it.
fn send_one<L: Launch>(mut worker: Worker<u32, L>, fd_count: usize) {
    let null = File::open("/dev/null").unwrap();
    let fds = vec![null.as_fd(); fd_count];
    worker.try_send(Call::new(ECHO, &[b"fds: "]).fds(&fds)).unwrap();
    finish(&mut worker);
    worker.stop(soon(), |_| ());
}

pub(crate) fn one_ways_in_line_are_run_in_order_and_counted() {
    let file = tempfile::tempfile().unwrap();
    let noting = Noting(file.try_clone().unwrap());
    let mut worker = Worker::<u32, _, 4>::start(Start::inline(noting)).unwrap();
    worker.try_send(Call::new(ECHO, &[b"a"])).unwrap();
    worker.try_call(Call::new(ECHO, &[b"b"]), 7).unwrap();
    worker.try_send(Call::new(REFUSE, &[b"c"])).unwrap();
    worker.try_send(Call::new(ECHO, &[b"d"])).unwrap();
    assert_eq!(worker.try_send(Call::new(ECHO, &[b"e"])).unwrap_err().why, Why::Full);
    let list = turn_until(&mut worker, |list| list.len() == 1);
    assert_eq!(list, [Told::Reply(7, b"answer".to_vec())]);
    assert_eq!(text(&file), "a0b0c0d0;");
    assert_eq!(worker.one_ways_under_way(), 0);
    let counters = worker.counters();
    assert_eq!((counters.one_ways_refused, counters.full), (1, 1));
    assert_eq!(worker.stop(soon(), |_| ()), None);

    struct Unsettled;
    impl Handler for Unsettled {
        fn handle(&mut self, _: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> {
            Ok(())
        }
        fn settle(&mut self) -> Result<(), Refusal> {
            Err(Refusal::new(5, "disk"))
        }
    }
    let mut worker = Worker::<u32, _>::start(Start::inline(Unsettled)).unwrap();
    worker.try_send(Call::new(ECHO, &[])).unwrap();
    worker.turn(Instant::now());
    assert_eq!((worker.one_ways_under_way(), worker.counters().one_ways_lost), (0, 1));
}

pub(crate) fn waiting_to_be_taken_gives_earlier_outcomes_meanwhile() {
    let mut worker = Worker::<u32, _, 2, 256>::start(over::fork(handle)).unwrap();
    let mut list = Vec::new();
    for tag in 0..200 {
        let bytes = [u8::try_from(tag).unwrap(); 60];
        worker
            .submit_until(Call::new(ECHO, &[&bytes]), tag, soon(), |event| list.push(told(event)))
            .unwrap();
        worker.send_until(Call::new(ECHO, &[]), soon(), |event| list.push(told(event))).unwrap();
        assert!(list.len() + 2 > usize::try_from(tag).unwrap(), "{tag}: {}", list.len());
    }
    worker.stop(soon(), |event| list.push(told(event)));
    let expected: Vec<Told> =
        (0..200).map(|tag| Told::Reply(tag, vec![u8::try_from(tag).unwrap(); 60])).collect();
    assert_eq!(list, expected);
    let full = worker.counters().full;
    assert_eq!(full, 0, "a request that was accepted in the end is not counted");
}

pub(crate) fn waiting_to_be_taken_ends_at_the_deadline() {
    let mut worker = Worker::<u32, _, 1, 256>::start(over::fork(handle)).unwrap();
    let pid = Pid::from_raw(worker.pid().unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    worker.try_call(Call::new(ECHO, &[]), 1).unwrap();
    let deadline = || Instant::now() + Duration::from_millis(50);
    let call = Call::new(ECHO, &[]);
    let refused = worker.submit_until(call, 2, deadline(), |_| ()).unwrap_err();
    assert_eq!((refused.tag, refused.why), (2, Why::Full));
    assert_eq!(worker.send_until(call, deadline(), |_| ()).unwrap_err().why, Why::Full);
    assert_eq!(worker.call_until(call, 3, deadline(), |_| ()).unwrap_err().tag, 3);
    assert_eq!(worker.counters().full, 3);
    kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(turn_until(&mut worker, |list| list.len() == 1), [Told::Reply(1, Vec::new())]);
}
