//! Time limits: handlers that are asked to stop, and workers that are killed in the end.

use ipc_tests::over;
use std::io::{PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{
    Again, Call, Ended, Handler, How, Instant, Launch, Refusal, Reply, Request, Restart, TimeLimit,
    Worker,
};

use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

use crate::handler::*;

pub(crate) const LIMIT: TimeLimit =
    TimeLimit { time: Duration::from_millis(50), grace: Duration::from_millis(200) };
/// For handlers that stop when asked, however busy the machine is.
pub(crate) const PATIENT: TimeLimit = TimeLimit { grace: Duration::from_secs(20), ..LIMIT };

fn limited(limit: TimeLimit) -> Worker<u32, impl Launch> {
    let start = over::fork(handle).restart(Restart::AT_ONCE).time_limit(limit);
    Worker::<u32, _>::start(start).unwrap()
}

pub(crate) fn a_handler_that_stops_when_it_is_asked_to_keeps_its_worker() {
    let mut worker = limited(PATIENT);
    let pid = worker.pid();
    for round in 0..3 {
        worker.try_call(Call::new(UNTIL_CANCELLED, &[]), round).unwrap();
        worker.try_call(Call::new(ECHO, &[b"next"]), 10).unwrap();
        let list = turn_until(&mut worker, |list| list.len() >= 2);
        assert_eq!(list, [Told::Reply(round, Vec::new()), Told::Reply(10, b"next".to_vec())]);
    }
    assert_eq!((worker.pid(), worker.counters().killed_overdue), (pid, 0));
}

pub(crate) fn one_that_does_not_stop_is_killed_and_the_next_requests_go_on() {
    let mut worker = limited(LIMIT);
    worker.try_call(Call::new(SLEEP_MS, &[&LONG]), 1).unwrap();
    worker.try_call(Call::new(ECHO, &[b"next"]), 2).unwrap();
    let list = turn_until(&mut worker, |list| list.len() >= 4);
    let expected = [
        Told::Died(Ended::Killed(9)),
        Told::Lost(1, How::Running),
        Told::Started(1),
        Told::Reply(2, b"next".to_vec()),
    ];
    assert_eq!(list, expected);
    assert_eq!(worker.counters().killed_overdue, 1);
    // It begins again if the caller allows it, and is set aside in the end.
    let call = Call::new(SLEEP_MS, &[&LONG]).again(Again::UntilDone).tries(2);
    worker.try_call(call, 3).unwrap();
    let aside = Told::SetAside(3, How::Running);
    turn_until(&mut worker, |list| list.contains(&aside));
    assert_eq!(worker.counters().killed_overdue, 3);
}

pub(crate) fn a_call_may_have_a_shorter_limit() {
    let mut worker = limited(TimeLimit { time: Duration::MAX, ..PATIENT });
    let short = Duration::from_millis(20);
    worker.try_call(Call::new(UNTIL_CANCELLED, &[]).time_limit(short), 1).unwrap();
    assert_eq!(turn_until(&mut worker, |list| !list.is_empty()), [Told::Reply(1, Vec::new())]);
    let time = 100_u64.to_le_bytes();
    worker.try_call(Call::new(SLEEP_MS, &[&time]), 2).unwrap();
    let slept = Told::Reply(2, b"slept".to_vec());
    assert_eq!(turn_until(&mut worker, |list| !list.is_empty()), [slept], "it has no limit");
}

/// Its time starts when the previous request is answered, even if nothing else happens then.
pub(crate) fn repro_the_limit_of_a_request_behind_one_without_holds() {
    let mut worker = limited(TimeLimit { time: Duration::MAX, ..PATIENT });
    let short = Duration::from_millis(20);
    worker.try_call(Call::new(ECHO, &[b"first"]), 1).unwrap();
    worker.try_call(Call::new(UNTIL_CANCELLED, &[]).time_limit(short), 2).unwrap();
    let list = turn_until(&mut worker, |list| list.len() >= 2);
    assert_eq!(list, [Told::Reply(1, b"first".to_vec()), Told::Reply(2, Vec::new())]);
}

/// Calls every method quick, so that replies wait for the next ones.
struct Quick;

impl Handler for Quick {
    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        handle(request, reply)
    }

    fn is_quick(&self, _method: u16) -> Option<bool> {
        Some(true)
    }
}

/// The reply that main waits for is not that of the handler which must stop.
pub(crate) fn repro_a_handler_that_holds_answers_back_is_asked_to_stop() {
    let start = over::fork(Quick).restart(Restart::AT_ONCE).time_limit(PATIENT);
    let mut worker = Worker::<u32, _>::start(start).unwrap();
    worker.try_call(Call::new(ECHO, &[b"held"]), 1).unwrap();
    worker.try_call(Call::new(UNTIL_CANCELLED, &[]), 2).unwrap();
    let list = turn_until(&mut worker, |list| list.len() >= 2);
    assert_eq!(list, [Told::Reply(1, b"held".to_vec()), Told::Reply(2, Vec::new())]);
}

pub(crate) fn repro_a_handler_that_notes_without_end_is_killed_all_the_same() {
    fn flood(request: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> {
        loop {
            request.note(1, b"still here");
        }
    }
    let start = over::fork(flood).restart(Restart::NEVER).time_limit(LIMIT);
    let mut worker = Worker::<u32, _>::start(start).unwrap();
    worker.try_call(Call::new(ECHO, &[]), 1).unwrap();
    let (mut has_died, limit) = (false, soon());
    loop {
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            has_died |= matches!(told(event), Told::Died(Ended::Killed(9)));
        }
        if has_died {
            break;
        }
        assert!(Instant::now() < limit, "the worker was not killed");
        // So that each turn makes progress.
        let next = worker.next_deadline().filter(|&next| next == Instant::PAST).unwrap_or(limit);
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(next)).unwrap();
    }
}

/// An abandoned request still occupies the worker, so the next one cannot begin.
pub(crate) fn a_cancelled_request_that_runs_on_is_ended_for_the_next() {
    let mut worker = limited(LIMIT);
    let id = worker.try_call(Call::new(SLEEP_MS, &[&LONG]), 1).unwrap();
    worker.try_call(Call::new(ECHO, &[b"next"]), 2).unwrap();
    worker.turn(Instant::now());
    std::thread::sleep(Duration::from_millis(10));
    assert!(worker.cancel(id));
    let list = turn_until(&mut worker, |list| list.len() >= 4);
    assert_eq!(list[..2], [Told::Cancelled(1), Told::Died(Ended::Killed(9))]);
    assert_eq!(list[3], Told::Reply(2, b"next".to_vec()));
}

/// A request that waited behind an abandoned one gets its full time afterwards.
pub(crate) fn repro_a_request_behind_one_that_was_given_up_has_its_time_anew() {
    let mut worker = limited(TimeLimit { grace: Duration::from_secs(5), ..LIMIT });
    let pid = worker.pid();
    let id = worker.try_call(Call::new(SLEEP_MS, &[&200_u64.to_le_bytes()]), 1).unwrap();
    worker.try_call(Call::new(UNTIL_CANCELLED, &[]), 2).unwrap();
    worker.turn(Instant::now());
    std::thread::sleep(Duration::from_millis(10));
    assert!(worker.cancel(id));
    let list = turn_until(&mut worker, |list| list.len() >= 2);
    assert_eq!(list, [Told::Cancelled(1), Told::Reply(2, Vec::new())]);
    assert_eq!(worker.pid(), pid);
}

/// Gives up a call whose handler has begun and does not end: it writes to a pipe that is not read.
fn give_up_what_hangs<L: Launch>(worker: &mut Worker<u32, L>) -> PipeReader {
    let (mut output, input) = std::io::pipe().unwrap();
    let bytes = vec![7; 3 * fcntl_setpipe_size(&input, 4096).unwrap()];
    let id = worker.try_call(Call::new(WRITE, &[&bytes]).fds(&[input.as_fd()]), 1).unwrap();
    drop(input);
    worker.turn(Instant::now());
    output.read_exact(&mut [0]).unwrap();
    assert!(worker.cancel(id));
    output
}

/// While the deadlines of all calls were shorter than its limit, a handler that hung was never killed.
pub(crate) fn repro_a_handler_that_was_given_up_has_its_time_limit_all_the_same() {
    let mut worker = limited(LIMIT);
    let after = |milliseconds| Instant::now() + Duration::from_millis(milliseconds);
    let _output = give_up_what_hangs(&mut worker);
    let limit = soon();
    let (mut answered, mut tag) = (false, 2);
    while !answered {
        worker.try_call(Call::new(ECHO, &[]).deadline(after(150)), tag).unwrap();
        let is_over = |told: &Told| matches!(told, Told::Reply(..) | Told::Late(2..));
        let list = turn_until(&mut worker, |list| list.iter().any(is_over));
        answered = list.iter().any(|told| matches!(told, Told::Reply(..)));
        assert!(Instant::now() < limit, "it is not killed");
        tag += 1;
    }
    assert_eq!(worker.counters().killed_overdue, 1);
}

/// Nothing else was in flight, so nobody looked at the time.
pub(crate) fn repro_a_handler_that_was_given_up_is_killed_without_further_calls() {
    let mut worker = limited(LIMIT);
    let _output = give_up_what_hangs(&mut worker);
    let died = Told::Died(Ended::Killed(9));
    turn_until(&mut worker, |list| list.contains(&died));
    assert_eq!(worker.counters().killed_overdue, 1);
}

pub(crate) fn repro_a_stop_waits_no_longer_than_the_limit_of_what_was_given_up() {
    let mut worker = limited(LIMIT);
    let _output = give_up_what_hangs(&mut worker);
    let mut list = Vec::new();
    worker.stop(Instant::NEVER, |event| list.push(told(event)));
    assert!(list.contains(&Told::Died(Ended::Killed(9))), "{list:?}");
}

/// A request that is answered, but not looked at yet, is not overdue.
pub(crate) fn a_main_that_looks_away_for_a_while_kills_nobody() {
    let mut worker = limited(LIMIT);
    let pid = worker.pid();
    for tag in 0..5 {
        // The handler waits for room in a full pipe.
        let (mut output, mut input) = std::io::pipe().unwrap();
        let mut full = vec![0; fcntl_getpipe_size(&input).unwrap()];
        input.write_all(&full).unwrap();
        worker.try_call(Call::new(WRITE, &[b"x"]).fds(&[input.as_fd()]), tag).unwrap();
        worker.turn(Instant::now());
        // Its time begins.
        assert!(worker.next_event().is_none());
        output.read_exact(&mut full).unwrap();
        let mut answered = [Watched::new(worker.as_fd(), Interest::Input)];
        assert!(wait(&mut answered, Some(soon())).unwrap());
        // First before main receives the reply, and then before it takes it.
        for _ in 0..3 {
            std::thread::sleep((LIMIT.time + LIMIT.grace) / 2);
            worker.turn(Instant::now());
        }
        assert_eq!(
            turn_until(&mut worker, |list| !list.is_empty()),
            [Told::Reply(tag, Vec::new())]
        );
    }
    assert_eq!(worker.pid(), pid);
}
