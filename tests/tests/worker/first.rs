//! What is called upon a start goes ahead of what is sent again.

use ipc_tests::over;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{
    Again, Call, Ended, Handler, How, Instant, Reason, Refusal, Reply, Request, Restart, TimeLimit,
    Why, Worker,
};

use crate::handler::*;
use crate::limits::{LIMIT, PATIENT};

/// Records its requests in the order in which they run.
struct Noting(File);

impl Handler for Noting {
    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        self.0.write_all(request.bytes())?;
        if request.method() == SLEEP_MS {
            std::thread::sleep(Duration::from_secs(600));
        }
        reply.put(request.bytes())
    }

    fn descriptors(&self) -> impl Iterator<Item = std::os::fd::BorrowedFd<'_>> {
        [self.0.as_fd()].into_iter()
    }
}

pub(crate) fn what_is_called_upon_a_start_goes_before_what_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("order");
    let file = File::options().append(true).create(true).open(&path).unwrap();
    let mut worker = Worker::<u32, _>::start(over::fork(Noting(file))).unwrap();
    worker.try_call(Call::new(SLEEP_MS, &[b"s"]), 0).unwrap();
    for tag in 1..=3 {
        worker.try_call(Call::new(ECHO, &[b"r"]), tag).unwrap();
    }
    worker.turn(Instant::now());
    while fs::read(&path).unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(1));
    }
    worker.kill();
    let (mut replies, limit) = (Vec::new(), soon());
    loop {
        worker.turn(Instant::now());
        let mut is_new = false;
        while let Some(event) = worker.next_event() {
            match told(event) {
                Told::Reply(tag, _) => replies.push(tag),
                Told::Started(resent) => is_new = resent == 3,
                Told::Died(_) | Told::Lost(0, How::Running) => {}
                other => panic!("{other:?}"),
            }
        }
        if is_new {
            worker.call_first(Call::new(ECHO, &[b"A"]), 10).unwrap();
            worker.call_first(Call::new(ECHO, &[b"B"]), 11).unwrap();
            worker.try_call(Call::new(ECHO, &[b"l"]), 12).unwrap();
            // Too late to be first.
            worker.call_first(Call::new(ECHO, &[b"m"]), 13).unwrap();
        }
        if replies.len() >= 7 {
            break;
        }
        assert!(Instant::now() < limit, "{replies:?}");
        let wake = worker.next_deadline().map_or(limit, |next| next.min(limit));
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(wake)).unwrap();
    }
    assert_eq!(replies, [10, 11, 1, 2, 3, 12, 13]);
    assert_eq!(fs::read(&path).unwrap(), b"sABrrrlm");
    worker.stop(soon(), |event| panic!("{event:?}"));
}

/// The next worker got the newer configuration first and the old one last.
pub(crate) fn repro_what_is_called_first_and_never_again_reaches_no_later_worker() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("order");
    let file = File::options().append(true).create(true).open(&path).unwrap();
    let mut worker = Worker::<u32, _>::start(over::fork(Noting(file))).unwrap();
    worker.call_first(Call::new(ECHO, &[b"1"]).again(Again::Never), 1).unwrap();
    worker.kill();
    let list = turn_until(&mut worker, |list| list.contains(&Told::Started(0)));
    let lost = [Told::Died(Ended::Killed(9)), Told::Lost(1, How::NotBegun)];
    assert_eq!(list[..2], lost);
    worker.call_first(Call::new(ECHO, &[b"2"]).again(Again::Never), 2).unwrap();
    let list = turn_until(&mut worker, |list| !list.is_empty());
    assert_eq!(list, [Told::Reply(2, b"2".to_vec())]);
    worker.stop(soon(), |event| panic!("{event:?}"));
    assert_eq!(fs::read(&path).unwrap(), b"2");
}

pub(crate) fn what_is_called_first_needs_a_slot_that_nothing_resent_uses() {
    let start = over::fork(handle).restart(Restart::AT_ONCE);
    let mut worker = Worker::<u32, _, 2, 1024>::start(start).unwrap();
    let call = Call::new(SLEEP_MS, &[&LONG]).again(Again::UntilDone);
    let ids = [1, 2].map(|tag| worker.try_call(call, tag).unwrap());
    worker.turn(Instant::now());
    worker.kill();
    turn_until(&mut worker, |list| list.contains(&Told::Started(2)));
    let first = Call::new(ECHO, &[b"first"]);
    assert_eq!(worker.call_first(first, 3).unwrap_err().why, Why::Full);
    assert!(worker.cancel(ids[0]));
    assert_eq!(worker.next_event().map(told), Some(Told::Cancelled(1)));
    worker.call_first(first, 3).unwrap();
    let list = turn_until(&mut worker, |list| !list.is_empty());
    assert_eq!(list, [Told::Reply(3, b"first".to_vec())]);
}

/// Its second worker fails in `prepare`: each worker writes a byte to the file.
struct FailsOnce(File);

impl Handler for FailsOnce {
    fn prepare(&mut self) -> Result<(), Reason> {
        rustix::io::write(&self.0, b"x")?;
        if self.0.metadata()?.len() == 2 { Err(Refusal::new(1, "once").into()) } else { Ok(()) }
    }

    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        handle(request, reply)
    }

    fn descriptors(&self) -> impl Iterator<Item = std::os::fd::BorrowedFd<'_>> {
        [self.0.as_fd()].into_iter()
    }
}

/// It lost its place, but was still taken for the one that runs, so the other had no time limit.
pub(crate) fn repro_what_is_called_before_a_failed_start_is_not_taken_for_the_first() {
    let file = tempfile::tempfile().unwrap();
    let start = over::fork(FailsOnce(file))
        .restart(Restart::AT_ONCE)
        .time_limit(TimeLimit { time: Duration::MAX, ..PATIENT });
    let mut worker = Worker::<u32, _>::start(start).unwrap();
    let call = Call::new(UNTIL_CANCELLED, &[]).again(Again::UntilDone);
    worker.try_call(call.time_limit(LIMIT.time), 1).unwrap();
    worker.turn(Instant::now());
    worker.kill();
    let list = turn_until(&mut worker, |list| !list.is_empty());
    assert_eq!(list, [Told::Died(Ended::Killed(9))]);
    worker.call_first(Call::new(ECHO, &[b"late"]), 2).unwrap();
    worker.call_first(Call::new(ECHO, &[]).again(Again::Never), 3).unwrap();
    let list = turn_until(&mut worker, |list| list.len() >= 5);
    assert_eq!(list[0], Told::Lost(3, How::NotBegun));
    assert!(matches!(list[1], Told::NotStarted(_)), "{list:?}");
    let replies = [Told::Reply(1, Vec::new()), Told::Reply(2, b"late".to_vec())];
    assert_eq!((&list[2], &list[3..]), (&Told::Started(1), &replies[..]));
}
