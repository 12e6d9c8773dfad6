//! Workers that are killed, given up and revived, and what a new one gets again.

use ipc_tests::over;
use std::fs;
use std::time::Duration;

use ipc_tests::cases::skip;
use ipc_tests::{fds, fuse};
use ipc_worker::{
    Again, Call, Ended, How, Instant, Refusal, Reply, Request, Restart, Start, Worker,
};

use crate::handler::*;
use crate::limits::LIMIT;

pub(crate) fn kill_ends_the_worker_and_waits_for_nothing() {
    let mut worker = worker();
    worker.try_call(Call::new(SLEEP_MS, &[&LONG]), 1).unwrap();
    worker.try_call(Call::new(ECHO, &[b"next"]), 2).unwrap();
    worker.turn(Instant::now());
    std::thread::sleep(Duration::from_millis(20));
    worker.kill();
    worker.kill();
    let list = turn_until(&mut worker, |list| list.len() >= 4);
    assert_eq!(list[0], Told::Died(Ended::Killed(9)));
    assert_eq!(list[3], Told::Reply(2, b"next".to_vec()));
    assert_eq!(worker.counters().killed_by_hand, 1);
}

pub(crate) fn a_worker_that_was_given_up_is_revived() {
    let before = fds::open().len();
    let start = over::fork(handle).restart(Restart::NEVER);
    let mut worker = Worker::<u32, _>::start(start).unwrap();
    let started = fds::open().len();
    for _ in 0..3 {
        assert!(!worker.revive(), "it runs");
        worker.kill();
        turn_until(&mut worker, |list| matches!(list.last(), Some(Told::GaveUp(_))));
        assert!(worker.try_call(Call::new(ECHO, &[]), 1).is_err());
        assert!(worker.revive() && !worker.revive());
        worker.try_call(Call::new(ECHO, &[b"again"]), 2).unwrap();
        let list = turn_until(&mut worker, |list| list.len() >= 2);
        assert_eq!(list, [Told::Started(0), Told::Reply(2, b"again".to_vec())]);
        assert_eq!(fds::open().len(), started);
    }
    assert_eq!(worker.stop(soon(), |_| ()), Some(Ended::Exited(0)));
    assert!(worker.revive());
    assert_eq!(call(&mut worker, ECHO, b"after"), Told::Reply(0, b"after".to_vec()));
    drop(worker);
    assert_eq!(fds::open().len(), before);
    assert!(fds::children().is_empty());
}

/// Nothing followed `revive` if there was no process to wait for.
pub(crate) fn repro_a_worker_in_line_is_revived_with_an_event() {
    let mut worker = Worker::<u32, _>::start(Start::inline(handle)).unwrap();
    worker.stop(soon(), |event| panic!("{event:?}"));
    assert!(worker.revive());
    worker.try_call(Call::new(ECHO, &[b"later"]), 1).unwrap();
    // Nothing runs before main has seen the start, even if main looks away.
    worker.turn(Instant::now());
    worker.turn(Instant::now());
    assert_eq!(worker.next_event().map(told), Some(Told::Started(0)));
    worker.call_first(Call::new(ECHO, &[b"first"]), 2).unwrap();
    let list = turn_until(&mut worker, |list| list.len() >= 2);
    assert_eq!(list, [Told::Reply(2, b"first".to_vec()), Told::Reply(1, b"later".to_vec())]);
}

/// Requests that had ended since their worker's death were counted too.
pub(crate) fn repro_only_what_a_new_worker_gets_again_counts_as_resent() {
    for restart in [Restart::NEVER, Restart::AT_ONCE] {
        let start = over::fork(handle).restart(restart);
        let mut worker = Worker::<u32, _>::start(start).unwrap();
        let call = Call::new(SLEEP_MS, &[&LONG]).again(Again::UntilDone);
        let ids = [1, 2].map(|tag| worker.try_call(call, tag).unwrap());
        worker.turn(Instant::now());
        worker.kill();
        if restart == Restart::NEVER {
            turn_until(&mut worker, |list| matches!(list.last(), Some(Told::GaveUp(_))));
            worker.revive();
            assert_eq!(turn_until(&mut worker, |list| !list.is_empty()), [Told::Started(0)]);
        } else {
            let list = turn_until(&mut worker, |list| !list.is_empty());
            assert_eq!(list, [Told::Died(Ended::Killed(9))]);
            assert!(worker.cancel(ids[0]));
            let list = turn_until(&mut worker, |list| list.len() >= 2);
            assert_eq!(list, [Told::Cancelled(1), Told::Started(1)]);
        }
    }
}

/// A worker stuck in a system call is left behind, and the next one answers meanwhile.
pub(crate) fn a_worker_that_cannot_be_killed_does_not_delay_the_next() {
    fn stat(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        match request.method() {
            ECHO => reply.put(request.bytes()),
            _ => {
                let path = std::str::from_utf8(request.bytes()).map_err(|_| Refusal::MALFORMED)?;
                fs::metadata(path)?;
                Ok(())
            }
        }
    }
    let silent = match fuse::Silent::mount() {
        Ok(silent) => silent,
        Err(error) => skip(&format!("a FUSE file system: {error}"), "root, and /dev/fuse"),
    };
    let before = fds::open().len();
    let start = over::fork(stat).restart(Restart::AT_ONCE).time_limit(LIMIT);
    let mut worker = Worker::<u32, _>::start(start).unwrap();
    let path = silent.file();
    let path = path.to_str().unwrap().as_bytes();
    worker.try_call(Call::new(WRITE, &[path]), 1).unwrap();
    worker.try_call(Call::new(ECHO, &[b"next"]), 2).unwrap();
    let list = turn_until(&mut worker, |list| list.len() >= 4);
    let expected = [
        Told::Died(Ended::Unknown),
        Told::Lost(1, How::Running),
        Told::Started(1),
        Told::Reply(2, b"next".to_vec()),
    ];
    assert_eq!(list, expected);
    assert_eq!(fds::children().len(), 3, "the file system, the stuck worker, and the next one");
    drop(silent);
    let limit = soon();
    // The stuck worker is reaped once it can exit.
    while fds::children().len() > 1 {
        worker.turn(Instant::now());
        assert!(Instant::now() < limit, "{:?}", fds::children());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(worker.stop(soon(), |event| panic!("{event:?}")), Some(Ended::Exited(0)));
    drop(worker);
    assert!(fds::open().len() <= before);
}
