//! Requests and their outcomes without deaths.

use ipc_tests::over;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_tests::around::proc;
use ipc_tests::fds;
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{
    Call, Counters, Encode, EncodeError, Ended, Event, Handler, How, Instant, Launch, NotTaken,
    Note, Outcome, Refusal, Reply, Request, Restart, Start, StartError, Why, Worker,
};

use crate::handler::*;

pub(crate) fn blocking_call_gets_its_reply() {
    let mut worker = worker();
    assert_eq!(call(&mut worker, ECHO, b"hello"), Told::Reply(0, b"hello".to_vec()));
    assert_eq!(call(&mut worker, ECHO, b""), Told::Reply(0, Vec::new()));
    assert_eq!(call(&mut worker, REFUSE, b""), Told::Refused(0, 42));
    assert!(worker.is_running());
    let text = format!("{worker:?}");
    assert!(text.starts_with("Worker {") && text.len() < 4000, "{text}");
    assert_eq!(call(&mut worker, 999, b""), Told::Refused(0, Refusal::UNKNOWN_METHOD.code));
    assert_eq!(worker.stop(soon(), |_| ()), Some(Ended::Exited(0)));
    assert!(!worker.is_running());
    assert!(fds::children().is_empty());
}

pub(crate) fn handler_runs_in_another_process() {
    let mut worker = worker();
    let pid = worker.pid().unwrap();
    assert_eq!(call(&mut worker, PID, b""), Told::Reply(0, pid.to_le_bytes().to_vec()));
    assert_ne!(u32::try_from(pid).unwrap(), std::process::id());
}

pub(crate) fn replies_come_in_request_order() {
    let mut worker = worker();
    for round in 0..50 {
        let mut made = 0;
        while worker.has_room() {
            let bytes = vec![u8::try_from(made).unwrap(); made * 7];
            worker.try_call(Call::new(ECHO, &[&bytes]), u32::try_from(made).unwrap()).unwrap();
            made += 1;
        }
        assert!(made >= 32, "round {round}: {made}");
        let list = turn_until(&mut worker, |list| list.len() == made);
        for (index, told) in list.into_iter().enumerate() {
            let bytes = vec![u8::try_from(index).unwrap(); index * 7];
            assert_eq!(told, Told::Reply(u32::try_from(index).unwrap(), bytes));
        }
    }
    assert_eq!(worker.counters().stray_replies, 0);
}

pub(crate) fn descriptors_reach_the_handler_and_come_back() {
    let mut worker = worker();
    let mut file = tempfile::tempfile().unwrap();
    let fds = [file.as_fd()];
    let mut outcome = None;
    let pieces: [&[u8]; 3] = [b"one ", b"two ", b"three"];
    let call = Call::new(WRITE, &pieces).fds(&fds);
    worker.call_until(call, 1, soon(), |event| outcome = Some(told(event))).unwrap();
    assert_eq!(outcome, Some(Told::Reply(1, Vec::new())));
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one two three");

    let mut fd = None;
    worker
        .call_until(Call::new(PIPE, &[b"through a new socket"]).reply_fds(1), 2, soon(), |event| {
            if let Event::Done { outcome: Outcome::Reply(mut reply), .. } = event {
                fd = reply.take_fd();
            }
        })
        .unwrap();
    let mut text = String::new();
    UnixStream::from(fd.unwrap()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "through a new socket");
}

pub(crate) fn as_many_descriptors_as_a_message_carries() {
    let mut worker = worker();
    let before = fds::open().len();
    let null = File::open("/dev/null").unwrap();
    for count in [0_u32, 1, 2, 3, 100, 252, 253] {
        let fds = vec![null.as_fd(); usize::try_from(count).unwrap()];
        let mut outcome = None;
        worker
            .call_until(Call::new(FDS, &[b"x"]).fds(&fds), count, soon(), |event| {
                outcome = Some(told(event));
            })
            .unwrap();
        assert_eq!(outcome, Some(Told::Reply(count, count.to_le_bytes().to_vec())));
    }
    let fds = vec![null.as_fd(); 254];
    let refused = worker.try_call(Call::new(FDS, &[b"x"]).fds(&fds), 9).unwrap_err();
    let why = Why::TooManyFds { count: 254, capacity: 253 };
    assert_eq!(refused, NotTaken { tag: 9, why });
    assert_eq!(worker.counters().too_many_fds, 1);
    drop(null);
    assert_eq!(fds::open().len(), before, "all duplicates are closed");
}

pub(crate) fn as_many_descriptors_come_back_as_a_message_carries() {
    let mut worker = worker();
    let before = fds::open().len();
    for count in [0_u32, 1, 2, 100, 252, 253, 254] {
        let mut came = None;
        worker
            .call_until(
                Call::new(GIVE_FDS, &[&count.to_le_bytes()]).reply_fds(253),
                0,
                soon(),
                |event| match event {
                    Event::Done { outcome: Outcome::Reply(mut reply), .. } => {
                        assert_eq!(reply.bytes(), b"in three pieces");
                        assert_eq!(reply.fds_lost(), None);
                        let fds: Vec<OwnedFd> = std::iter::from_fn(|| reply.take_fd()).collect();
                        came = Some(u32::try_from(fds.len()).unwrap());
                    }
                    Event::Done { outcome: Outcome::Refused(refusal), .. } => {
                        assert_eq!((count, refusal), (254, Refusal::TOO_MANY_FDS));
                    }
                    other => panic!("{other:?}"),
                },
            )
            .unwrap();
        assert_eq!(came, (count < 254).then_some(count));
        // Descriptors that are not taken are closed.
        let bytes = count.to_le_bytes();
        let pieces: [&[u8]; 1] = [&bytes];
        let again = Call::new(GIVE_FDS, &pieces).reply_fds(253);
        worker.call_until(again, 0, soon(), |_| ()).unwrap();
        assert_eq!(call(&mut worker, ECHO, b""), Told::Reply(0, Vec::new()));
        assert_eq!(fds::open().len(), before, "{count}");
    }
}

pub(crate) fn a_handler_adds_only_descriptors_that_the_call_allows() {
    fn check<L: Launch>(mut worker: Worker<u32, L>) {
        let before = fds::open().len();
        for (allowed, wanted) in [(0, 1_u32), (1, 2), (252, 253), (3, 3)] {
            let bytes = wanted.to_le_bytes();
            let pieces: [&[u8]; 1] = [&bytes];
            worker.try_call(Call::new(GIVE_FDS, &pieces).reply_fds(allowed), 1).unwrap();
            let list = turn_until(&mut worker, |list| !list.is_empty());
            let expected = match wanted > allowed.into() {
                true => Told::Refused(1, Refusal::TOO_MANY_FDS.code),
                false => Told::Reply(1, b"in three pieces".to_vec()),
            };
            assert_eq!(list, [expected], "{allowed}");
            assert!(worker.next_event().is_none());
            assert_eq!(fds::open().len(), before);
        }
        let refused = worker.try_call(Call::new(GIVE_FDS, &[]).reply_fds(254), 9).unwrap_err();
        assert_eq!(refused.why, Why::TooManyFds { count: 254, capacity: 253 });
    }
    check(worker());
    check(Worker::<u32, _>::start(Start::inline(handle)).unwrap());
}

/// A view of an event does not block a call in the same match arm, once it is no longer used.
pub(crate) fn notes_come_before_the_answer_with_and_without_their_request() {
    let mut worker = worker();
    for tag in 0..20 {
        worker.try_call(Call::new(NOTES, &[b"some"]), tag).unwrap();
        let list = turn_until(&mut worker, |list| list.len() >= 4);
        let expected = [
            Told::Note(Some(tag), 1, b"some".to_vec()),
            Told::Note(None, 2, b"some".to_vec()),
            Told::Note(None, Note::LAST_WORDS, b"last words".to_vec()),
            Told::Reply(tag, vec![1, 1]),
        ];
        assert_eq!(list, expected);
    }
    assert_eq!(worker.counters().notes_dropped, 0);
}

pub(crate) fn requests_are_made_from_the_arms_of_events() {
    let mut worker = worker();
    worker.try_call(Call::new(PIPE, &[b"1"]).reply_fds(1), 0).unwrap();
    let (limit, mut done) = (soon(), 0);
    while done < 10 {
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            match event {
                Event::Done { tag, outcome: Outcome::Reply(mut reply) } => {
                    let fd = reply.take_fd();
                    let fds: Vec<_> = fd.iter().map(|fd| fd.as_fd()).collect();
                    // Alternate between receiving a descriptor and sending it.
                    let method = if fd.is_some() { FDS } else { PIPE };
                    worker.try_send(Call::new(ECHO, &[b"by the way"])).unwrap();
                    let call = Call::new(method, &[b"1"]).fds(&fds).reply_fds(1);
                    worker.try_call(call, tag + 1).unwrap();
                    done = tag + 1;
                }
                Event::Done { tag, outcome } => panic!("{tag}: {outcome:?}"),
                other => panic!("{other:?}"),
            }
        }
        let deadline = worker.next_deadline().map_or(limit, |next| next.min(limit));
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(deadline)).unwrap();
        assert!(Instant::now() < limit);
    }
}

pub(crate) fn what_is_not_taken_comes_back_with_its_reason() {
    let mut worker = Worker::<u32, _, 2, 512>::start(over::fork(handle)).unwrap();
    let long = [0; 600];
    let refused = worker.try_call(Call::new(ECHO, &[&long]), 5).unwrap_err();
    assert_eq!(refused, NotTaken { tag: 5, why: Why::TooLong { len: 600, capacity: 488 } });
    worker.try_call(Call::new(ECHO, &[b"a"]), 1).unwrap();
    worker.try_call(Call::new(ECHO, &[b"b"]), 2).unwrap();
    assert!(!worker.has_room());
    let refused = worker.try_call(Call::new(ECHO, &[b"c"]), 3).unwrap_err();
    assert_eq!(refused, NotTaken { tag: 3, why: Why::Full });
    assert_eq!(worker.under_way(), 2);
    assert_eq!(turn_until(&mut worker, |list| list.len() == 2).len(), 2);
    assert_eq!(worker.under_way(), 0);
    worker.stop(soon(), |_| ());
    assert!(worker.has_room(), "calls are answered at once");
    let refused = worker.try_call(Call::new(ECHO, &[b"d"]), 4).unwrap_err();
    assert_eq!(refused, NotTaken { tag: 4, why: Why::Stopped });
    let Counters { full, too_long, too_many_fds, no_fd_left, stopped, .. } = worker.counters();
    assert_eq!([too_long, full, stopped], [1, 1, 1]);
    assert_eq!([too_many_fds, no_fd_left], [0, 0]);
}

pub(crate) fn try_call_duplicates_nothing_where_no_descriptor_is_left() {
    let mut worker = worker();
    let null = File::open("/dev/null").unwrap();
    let mut hoard: Vec<OwnedFd> = Vec::new();
    rlimit_nofile(64);
    while let Ok(fd) = null.as_fd().try_clone_to_owned() {
        hoard.push(fd);
    }
    let fds = [null.as_fd(), null.as_fd()];
    let refused = worker.try_call(Call::new(FDS, &[b""]).fds(&fds), 7).unwrap_err();
    assert!(matches!(refused, NotTaken { tag: 7, why: Why::NoFdLeft(_) }), "{refused:?}");
    assert_eq!(worker.counters().no_fd_left, 1);
    hoard.clear();
    assert_eq!(call(&mut worker, ECHO, b"goes on"), Told::Reply(0, b"goes on".to_vec()));
}

fn rlimit_nofile(limit: u64) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum: Some(limit) }).unwrap();
}

pub(crate) fn a_deadline_ends_a_request_that_runs_and_one_that_waits() {
    let mut worker = worker();
    let time = 300_u64.to_le_bytes();
    let deadline = Instant::now() + Duration::from_millis(50);
    worker.try_call(Call::new(SLEEP_MS, &[&time]).deadline(deadline), 1).unwrap();
    worker.try_call(Call::new(ECHO, &[b"never"]).deadline(deadline), 2).unwrap();
    worker.try_call(Call::new(ECHO, &[b"still"]), 3).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == 3);
    assert_eq!(list, [Told::Late(1), Told::Late(2), Told::Reply(3, b"still".to_vec())]);
    assert_eq!(worker.counters().stray_replies, 1, "the late reply of the running request");
}

pub(crate) fn a_cancelled_request_that_waits_never_begins() {
    let mut worker = worker();
    let file = tempfile::tempfile().unwrap();
    let time = 100_u64.to_le_bytes();
    worker.try_call(Call::new(SLEEP_MS, &[&time]), 1).unwrap();
    let fds = [file.as_fd()];
    let id = worker.try_call(Call::new(WRITE, &[b"no"]).fds(&fds), 2).unwrap();
    worker.turn(Instant::now());
    assert!(worker.cancel(id));
    assert_eq!(worker.under_way(), 2, "its outcome was not told yet");
    assert!(!worker.cancel(id), "its outcome is already decided");
    let list = turn_until(&mut worker, |list| list.len() == 2);
    assert_eq!(list, [Told::Cancelled(2), Told::Reply(1, b"slept".to_vec())]);
    worker.stop(soon(), |_| ());
    assert_eq!(file.metadata().unwrap().len(), 0);
}

pub(crate) fn a_stopped_worker_never_blocks_main() {
    let mut worker = worker();
    let pid = rustix::process::Pid::from_raw(worker.pid().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let before = voluntary_switches();
    let bytes = [7; 600];
    let mut taken = 0_u32;
    for round in 0..100_000 {
        match worker.try_call(Call::new(ECHO, &[&bytes]), round) {
            Ok(_) => taken += 1,
            Err(not_taken) => assert_eq!((not_taken.tag, not_taken.why), (round, Why::Full)),
        }
        // Alone, and with all the I/O of a loop.
        if round % 2 == 0 {
            worker.turn(Instant::now());
            assert!(worker.next_event().is_none());
        }
    }
    assert_eq!(voluntary_switches(), before, "main has slept");
    assert!(taken > 10);
    assert_eq!(worker.counters().full, u64::from(100_000_u32 - taken));
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == usize::try_from(taken).unwrap());
    assert!(list.iter().all(|told| matches!(told, Told::Reply(..))));
}

fn voluntary_switches() -> u64 {
    let status = std::fs::read_to_string(proc("self/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt")).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}

pub(crate) fn inline_gives_the_same_outcomes_in_one_process() {
    let mut worker = Worker::<u32, _>::start(Start::inline(handle)).unwrap();
    assert_eq!(worker.pid(), None);
    let mut file = tempfile::tempfile().unwrap();
    assert_eq!(call(&mut worker, ECHO, b"hello"), Told::Reply(0, b"hello".to_vec()));
    assert_eq!(call(&mut worker, REFUSE, b""), Told::Refused(0, 42));
    let own = std::process::id().to_le_bytes().to_vec();
    assert_eq!(call(&mut worker, PID, b""), Told::Reply(0, own));
    let fds = [file.as_fd()];
    worker.try_call(Call::new(WRITE, &[b"in ", b"line"]).fds(&fds), 1).unwrap();
    worker.try_call(Call::new(PIPE, &[b"x"]).reply_fds(1), 2).unwrap();
    worker.try_call(Call::new(PIPE, &[b"y"]).reply_fds(1), 3).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == 3);
    assert_eq!(list, [1, 2, 3].map(|tag| Told::Reply(tag, Vec::new())));
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "in line");
    assert_eq!(worker.stop(soon(), |_| ()), None);
}

pub(crate) fn a_batch_that_is_not_settled_is_lost_as_done() {
    struct Unsettled;
    impl Handler for Unsettled {
        fn handle(&mut self, _: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> {
            Ok(())
        }
        fn settle(&mut self) -> Result<(), Refusal> {
            Err(Refusal::new(5, "disk"))
        }
    }
    let start = over::fork(Unsettled).restart(Restart::NEVER);
    let mut forked = Worker::<u32, _>::start(start).unwrap();
    let mut inline = Worker::<u32, _>::start(Start::inline(Unsettled)).unwrap();
    forked.try_call(Call::new(ECHO, &[]), 1).unwrap();
    inline.try_call(Call::new(ECHO, &[]), 1).unwrap();
    let list = turn_until(&mut forked, |list| list.len() == 3);
    assert_eq!(list[..2], [Told::Died(Ended::Exited(74)), Told::Lost(1, How::Done)]);
    let list = turn_until(&mut inline, |list| list.len() == 2);
    assert_eq!(list[0], Told::Lost(1, How::Done));
    assert!(matches!(list[1], Told::GaveUp(_)));
}

/// A message that claims to have written more than fits.
struct Boaster(usize);

impl Encode for Boaster {
    fn encoded_len(&self) -> Result<usize, EncodeError> {
        Ok(1)
    }

    fn encode(&self, _space: &mut [u8]) -> Result<usize, EncodeError> {
        Ok(self.0)
    }
}

pub(crate) fn repro_a_reply_that_boasts_of_its_length_is_a_refusal() {
    const BOASTED: [usize; 5] = [usize::MAX, usize::MAX / 2, 1023, 511, 255];
    fn boast(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        let Some(len) = usize::from(request.method()).checked_sub(1) else {
            return reply.put(request.bytes());
        };
        reply.put(b"some")?;
        reply.put_message(&Boaster(BOASTED[len]))
    }
    fn check<L: Launch>(started: Result<Worker<u32, L, 4, 256>, StartError>) {
        let mut worker = started.unwrap();
        for method in 1..=5 {
            let refused = call_in(&mut worker, method, b"");
            assert_eq!(refused, Told::Refused(0, Refusal::UNENCODABLE.code), "{method}");
        }
        assert_eq!(call_in(&mut worker, 0, b"in step"), Told::Reply(0, b"in step".to_vec()));
    }
    check(Worker::start(over::fork(boast)));
    check(Worker::start(Start::inline(boast)));
}

pub(crate) fn repro_a_call_that_waits_for_room_keeps_its_own_deadline() {
    let mut worker = Worker::<u32, _, 1, 256>::start(over::fork(handle)).unwrap();
    worker.try_call(Call::new(UNTIL_CANCELLED, &[]), 1).unwrap();
    let own = Instant::now() + Duration::from_millis(50);
    let late = Instant::now() + Duration::from_secs(10);
    let refused = worker.call_until(Call::new(ECHO, &[]).deadline(own), 2, late, |_| ());
    assert_eq!(refused, Err(NotTaken { tag: 2, why: Why::Full }));
    assert!(Instant::now() < late, "it ignored its own deadline");
}

pub(crate) fn repro_a_panic_in_line_lets_nothing_run_twice() {
    struct Panicking(Vec<u8>);
    impl Handler for Panicking {
        fn handle(&mut self, request: &mut Request<'_>, to: &mut Reply<'_>) -> Result<(), Refusal> {
            let fd = request.take_fd().unwrap();
            if request.bytes() != [1] {
                // A batch in line has at most one reply with descriptors.
                to.put_fd(fd)?;
            }
            self.0.push(request.bytes()[0]);
            assert_ne!(request.bytes(), b"2", "on purpose");
            Ok(())
        }

        fn settle(&mut self) -> Result<(), Refusal> {
            assert_eq!(self.0, [1, b'2', 3], "each has run once");
            Ok(())
        }
    }
    let before = fds::open().len();
    let mut worker = Worker::<u32, _>::start(Start::inline(Panicking(Vec::new()))).unwrap();
    let null = File::open("/dev/null").unwrap();
    for (tag, byte) in [(1, 1), (2, b'2'), (3, 3)] {
        let (pieces, fds): ([&[u8]; 1], _) = ([&[byte]], [null.as_fd()]);
        worker.try_call(Call::new(1, &pieces).fds(&fds).reply_fds(1), tag).unwrap();
    }
    let turn = std::panic::AssertUnwindSafe(|| worker.turn(Instant::now()));
    assert!(std::panic::catch_unwind(turn).is_err());
    // Nothing in the batch was settled, so nothing in it is reported as done.
    let list: Vec<Told> = std::iter::from_fn(|| worker.next_event().map(told)).collect();
    assert_eq!(list, [Told::Lost(1, How::Done), Told::Lost(2, How::Running)]);
    let list = turn_until(&mut worker, |list| !list.is_empty());
    assert_eq!(list, [Told::Reply(3, Vec::new())]);
    assert_eq!(worker.counters(), Counters::default(), "no strays");
    drop((worker, null));
    assert_eq!(fds::open().len(), before);
}
