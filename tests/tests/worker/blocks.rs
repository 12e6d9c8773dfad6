//! Blocks of shared memory: they carry bytes, and no two requests share one at the same time.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_tests::cases::skip;
use ipc_tests::forked::end_of;
use ipc_tests::over;
use ipc_tests::ptrace::keep_unreaped;
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{
    Again, Call, Ended, Event, How, Instant, Launch, Outcome, Restart, SharedBytes, Start,
    TimeLimit, Why, Worker,
};

use crate::handler::*;

fn all(bytes: SharedBytes<'_>) -> Vec<u8> {
    let mut all = vec![0; bytes.len()];
    assert_eq!(bytes.read_at(0, &mut all), all.len());
    all
}

/// Makes a call, and returns the contents of the reply's block.
fn reply_of<L: Launch>(worker: &mut Worker<u32, L>, call: Call<'_>) -> Vec<u8> {
    let mut replied = None;
    let take = |event: Event<'_, u32>| match event {
        Event::Done { outcome: Outcome::Reply(reply), .. } => {
            replied = Some(reply.block().map(all))
        }
        other => panic!("{other:?}"),
    };
    worker.call_until(call, 0, soon(), take).unwrap();
    replied.unwrap().unwrap()
}

fn carries_bytes<L: Launch>(mut worker: Worker<u32, L>) {
    for len in [0, 1, 3, 4095, 4096, 70_001, BLOCK] {
        let sent: Vec<u8> = (0..=250_u8).cycle().take(len).collect();
        let (one, other) = sent.split_at(len / 3);
        let expected: Vec<u8> = sent.iter().map(|byte| byte + 1).collect();
        let came = reply_of(&mut worker, Call::new(ADD_ONE, &[]).block(&[one, other]));
        assert!(came == expected, "{len}: {}", came.len());
    }
    // A request without a block has none, even if its slot had one before.
    assert_eq!(call(&mut worker, ADD_ONE, b""), Told::Refused(0, 1));
    // A reply contains no bytes of an earlier request.
    let came = reply_of(&mut worker, Call::new(ECHO, &[]).block(&[b"hello"]));
    assert_eq!(came, b"");
    let counters = worker.counters();
    assert_eq!(counters.stray_replies, 0);
    worker.stop(soon(), |_| ());
}

pub(crate) fn a_block_carries_bytes_to_the_handler_and_back() {
    carries_bytes(lending());
}

pub(crate) fn blocks_in_line_are_lent_too() {
    carries_bytes(Worker::start(Start::inline(handle).blocks::<2>(BLOCK)).unwrap());
}

pub(crate) fn a_file_is_written_from_a_block_and_read_into_it() {
    let mut worker = lending();
    let file = tempfile::tempfile().unwrap();
    let fds = [file.as_fd()];
    let sent = vec![7; 300_000];
    let pieces = [&sent[..]];
    let call = Call::new(TO_FILE_AND_BACK, &[]).fds(&fds).block(&pieces);
    assert!(reply_of(&mut worker, call) == sent);
    assert_eq!(file.metadata().unwrap().len(), 300_000);
}

pub(crate) fn what_no_block_holds_is_not_taken() {
    let mut worker = lending();
    let long = vec![0; BLOCK + 1];
    let why = worker.try_call(Call::new(ECHO, &[]).block(&[&long]), 1).unwrap_err().why;
    assert_eq!(why, Why::TooLong { len: BLOCK + 1, capacity: BLOCK });
    for tag in 0..2 {
        assert!(worker.has_block());
        worker.try_call(Call::new(ECHO, &[]).block(&[]), tag).unwrap();
    }
    assert!(!worker.has_block() && worker.has_room());
    let why = worker.try_call(Call::new(ECHO, &[]).block(&[]), 2).unwrap_err().why;
    assert_eq!(why, Why::Full);
    worker.try_call(Call::new(ECHO, &[]), 3).unwrap();
    turn_until(&mut worker, |list| list.len() == 3);
    worker.try_call(Call::new(ECHO, &[]).block(&[]), 4).unwrap();
    let mut without = crate::handler::worker();
    assert!(!without.has_block());
    let why = without.try_call(Call::new(ECHO, &[]).block(&[]), 1).unwrap_err().why;
    assert_eq!(why, Why::NoBlocks);
}

/// Starts a request whose handler holds its block until the gate is written to.
fn hold<L: Launch>(worker: &mut Worker<u32, L>, tag: u32) -> (ipc_worker::RequestId, UnixStream) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let fds = [theirs.as_fd()];
    let call = Call::new(LOOK_LATER, &[]).fds(&fds).block(&[b"held"]);
    let id = worker.try_call(call, tag).unwrap();
    worker.turn(Instant::now());
    ours.read_exact(&mut [0]).unwrap();
    (id, ours)
}

pub(crate) fn a_block_is_its_handlers_until_that_has_returned() {
    let mut worker = lending();
    let (id, mut gate) = hold(&mut worker, 1);
    assert!(worker.cancel(id));
    assert_eq!(turn_until(&mut worker, |list| list.len() == 1), [Told::Cancelled(1)]);
    // The abandoned request's slot is reused, but its block is not.
    worker.try_call(Call::new(ADD_ONE, &[]).block(&[b"other"]), 2).unwrap();
    let why = worker.try_call(Call::new(ADD_ONE, &[]).block(&[b"third"]), 3).unwrap_err().why;
    assert_eq!(why, Why::Full);
    gate.write_all(b"g").unwrap();
    let mut seen = [0; 4];
    gate.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"held");
    assert_eq!(turn_until(&mut worker, |list| list.len() == 1).len(), 1);
    // Both blocks are free again.
    for tag in [4, 5] {
        worker.try_call(Call::new(ADD_ONE, &[]).block(&[b"other"]), tag).unwrap();
    }
}

/// The worker skips requests that were given up before it began them, and says nothing of it.
pub(crate) fn repro_a_block_that_comes_back_without_an_event_is_not_waited_for_in_vain() {
    let mut worker = lending();
    let limit = soon();
    for round in 0..2000 {
        for tag in 0..2 {
            // As a daemon's loop that has nothing else to do.
            while !worker.has_block() || !worker.has_room() {
                let wake = worker.next_deadline().map_or(limit, |next| next.min(limit));
                wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(wake)).unwrap();
                worker.turn(Instant::now());
                while worker.next_event().is_some() {}
                assert!(Instant::now() < limit, "round {round}: it sleeps though there is a block");
            }
            let id = worker.try_call(Call::new(ECHO, &[]).block(&[b"x"]), tag).unwrap();
            worker.turn(Instant::now());
            worker.cancel(id);
            while worker.next_event().is_some() {}
        }
    }
}

/// Its block was lent again before the next worker began. A killed process may still write to it.
pub(crate) fn repro_a_lost_requests_block_waits_for_the_killed_process() {
    let mut worker = lending();
    let (_, _gate) = hold(&mut worker, 1);
    let Some(mut tracer) = keep_unreaped(worker.pid().unwrap()) else {
        skip("a tracer", "the right to trace, CAP_SYS_PTRACE");
    };
    worker.kill();
    let mut is_lost = false;
    let limit = soon();
    while !is_lost {
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            is_lost |= matches!(event, Event::Done { outcome: Outcome::Lost(_), .. });
        }
        assert!(Instant::now() < limit, "it is not given up");
    }
    for tag in [2, 3] {
        worker.try_call(Call::new(ECHO, &[]).block(&[b"other"]), tag).unwrap();
        assert!(!worker.has_block(), "the killed process still has one");
        turn_until(&mut worker, |list| list.iter().any(|it| matches!(it, Told::Reply(..))));
    }
    tracer.kill().unwrap();
    assert_eq!(end_of(&mut tracer), Ended::Killed(9));
    turn_until(&mut worker, |_| true);
    while worker.try_call(Call::new(ECHO, &[]).block(&[]), 4).is_ok() {}
    assert_eq!(worker.under_way(), 2);
}

/// It held the only block, so no later request could show that it ran too long.
pub(crate) fn repro_a_handler_that_was_given_up_with_the_last_block_has_a_time_limit() {
    let [time, grace] = [50, 200].map(Duration::from_millis);
    let limit = TimeLimit { time, grace };
    let start = over::fork(handle).blocks::<1>(100).time_limit(limit);
    let mut worker = Worker::<u32, _>::start(start.restart(Restart::AT_ONCE)).unwrap();
    let (id, _gate) = hold(&mut worker, 1);
    assert!(worker.cancel(id));
    let mut list = Vec::new();
    // It may be killed too, on a machine that is busy.
    let call = Call::new(ECHO, &[b"x"]).block(&[b"other"]).again(Again::UntilDone);
    worker.call_until(call, 2, soon(), |event| list.push(told(event))).unwrap();
    assert_eq!(list.last(), Some(&Told::Reply(2, b"x".to_vec())), "{list:?}");
    assert!(worker.counters().killed_overdue > 0);
}

pub(crate) fn the_blocks_of_a_dead_worker_come_back() {
    let mut worker = lending();
    for _ in 0..3 {
        let (id, _gate) = hold(&mut worker, 1);
        worker.cancel(id);
        worker.try_call(Call::new(ECHO, &[]).block(&[b"waits"]), 2).unwrap();
        worker.kill();
        let list = turn_until(&mut worker, |list| list.contains(&Told::Reply(2, Vec::new())));
        assert_eq!(
            list,
            [
                Told::Cancelled(1),
                Told::Died(Ended::Killed(9)),
                Told::Started(0),
                Told::Reply(2, Vec::new())
            ]
        );
    }
}

pub(crate) fn what_is_sent_again_has_its_block_as_the_dead_worker_left_it() {
    let mut worker = lending();
    let call = Call::new(SPOIL_AND_EXIT, &[]).block(&[b"bytes"]).again(Again::UntilDone);
    let mut list = Vec::new();
    worker
        .call_until(call, 1, soon(), |event| {
            if let Event::Done { outcome: Outcome::Reply(reply), .. } = &event {
                assert_eq!(
                    reply.block().map(|block| block.len()),
                    Some(0),
                    "a dead worker's reply"
                );
            }
            list.push(told(event));
        })
        .unwrap();
    let replied = Told::Reply(1, b"b!tes".to_vec());
    assert_eq!(list, [Told::Died(Ended::Exited(3)), Told::Started(1), replied]);
}

pub(crate) fn a_lost_request_brings_its_block_back() {
    let mut worker = lending();
    let mut given_back = None;
    worker
        .call_until(Call::new(SPOIL_AND_EXIT, &[]).block(&[b"bytes"]), 1, soon(), |event| {
            if let Event::Done { outcome: Outcome::Lost(lost), .. } = event {
                assert_eq!(lost.how, How::Running);
                given_back = lost.block().map(all);
            }
        })
        .unwrap();
    assert_eq!(given_back.unwrap(), b"b!tes", "with its original length");
}

pub(crate) fn one_ways_have_blocks_too() {
    let mut worker = lending();
    let file = tempfile::tempfile().unwrap();
    let fds = [file.as_fd()];
    for _ in 0..20 {
        let call = Call::new(TO_FILE_AND_BACK, &[]).fds(&fds).block(&[b"one-way"]);
        worker.send_until(call, soon(), |event| panic!("{event:?}")).unwrap();
    }
    worker.stop(soon(), |event| panic!("{event:?}"));
    assert_eq!(file.metadata().unwrap().len(), 7 * 20);
}
