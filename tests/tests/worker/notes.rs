//! What a worker reports without being asked.

use ipc_tests::over;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use ipc_barrier::{Fork, exit, fork};
use ipc_frame::Kind;
use ipc_tests::fds;
use ipc_tests::wire::RawHeader;
use ipc_transport::{PassFds, Stream, Transport};
use ipc_worker::{
    Call, Ended, Handler, How, Instant, Launch, Note, Reason, Refusal, Reply, Request, Restart,
    Start, Worker, last_words, note,
};
use rustix::pipe::pipe;

use crate::handler::{Told, soon, told, turn_until};

const PROGRESS: u16 = 1;
const MANY: u16 = 2;
const EXIT: u16 = 3;
const SIZED: u16 = 4;
const FORGE: u16 = 5;
const FORGE_FD: u16 = 6;
const FORGE_MANY: u16 = 7;
const THREADS: u16 = 8;
const PANIC: u16 = 9;
const FORK: u16 = 10;
const ECHO: u16 = 11;

/// The most notes that main has not taken yet.
const CREDIT: usize = 16;

fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    match request.method() {
        PROGRESS => {
            let [input] = request.take_fds()?;
            reply.put(b"before ")?;
            for number in 0..3 {
                assert!(request.note(number, request.bytes()));
            }
            File::from(input).read_to_end(&mut Vec::new())?;
            assert!(request.note(3, b"at last"));
            reply.put(b"after")
        }
        MANY | EXIT => {
            let count = u32::from_le_bytes(request.bytes().try_into().unwrap());
            let sent = (0..count).filter(|number| request.note(7, &number.to_le_bytes())).count();
            if request.method() == EXIT {
                exit(3);
            }
            through(request)?;
            reply.put(&u32::try_from(sent).unwrap().to_le_bytes())
        }
        SIZED => {
            let len = u32::from_le_bytes(request.bytes().try_into().unwrap());
            let is_sent = request.note(8, &vec![8; usize::try_from(len).unwrap()]);
            through(request)?;
            reply.put(&[u8::from(is_sent)])
        }
        THREADS => {
            for number in 0..2_u16 {
                std::thread::spawn(move || {
                    let mut count = 0_u32;
                    loop {
                        count += u32::from(note(number, &count.to_le_bytes()));
                    }
                });
            }
            Ok(())
        }
        PANIC => {
            let count = u32::from_le_bytes(request.bytes().try_into().unwrap());
            let sent = (0..count).filter(|_| note(7, b"before")).count();
            // Without credit some are dropped; main may give more meanwhile.
            let long = if count == 100 { "é".repeat(2000) } else { String::new() };
            panic!("on purpose: {sent} sent, and {long}");
        }
        FORK => {
            let status = match fork().unwrap() {
                Fork::Child(_guard) => exit(i32::from(note(7, b"in a child"))),
                Fork::Parent(mut child) => child.wait(),
            };
            assert_eq!(status, Ended::Exited(0), "a note of another process");
            reply.put(&[u8::from(note(7, b"in the worker"))])
        }
        FORGE => {
            for chunk in request.bytes().chunks_exact(8) {
                forge(u64::from_le_bytes(chunk.try_into().unwrap()), 0);
            }
            Ok(())
        }
        FORGE_FD => {
            forge(0, 1);
            std::thread::sleep(std::time::Duration::from_secs(600));
            Ok(())
        }
        FORGE_MANY => {
            for _ in 0..20_000 {
                forge(u64::MAX, 0);
            }
            reply.put(request.bytes())
        }
        ECHO => reply.put(request.bytes()),
        _ => Err(Refusal::UNKNOWN_METHOD),
    }
}

/// Tells main, if it waits for that, that the handler has sent its notes.
fn through(request: &mut Request<'_>) -> Result<(), Refusal> {
    request.take_fd().map_or(Ok(()), |fd| Ok(File::from(fd).write_all(b"x")?))
}

/// Sends a note that breaks all rules.
fn forge(id: u64, fd_count: u16) {
    let kind = Kind::Note as u8;
    let header = RawHeader { kind, method: 9, id, fd_count, ..RawHeader::default() };
    let mut stream = Stream::from(fds::own_socket().try_clone_to_owned().unwrap());
    let null = File::open("/dev/null").unwrap();
    let bytes = header.bytes();
    if fd_count > 0 {
        stream.send_with(&[&bytes], &[null.as_fd()]).unwrap();
        return;
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        rest = &rest[stream.blocking().send(&[rest]).unwrap().unwrap_or(0)..];
    }
}

fn worker() -> Worker<u32, impl Launch, 8, 4096> {
    Worker::start(over::fork(handle).restart(Restart::AT_ONCE)).unwrap()
}

/// Makes a call whose handler writes to the descriptor after sending its notes.
fn call<L: Launch>(
    worker: &mut Worker<u32, L, 8, 4096>,
    method: u16,
    number: u32,
    fd: BorrowedFd<'_>,
    tag: u32,
) {
    worker.try_call(Call::new(method, &[&bytes(number)]).fds(&[fd]), tag).unwrap();
}

fn bytes(number: u32) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

pub(crate) fn progress_of_a_long_request_arrives_while_it_runs() {
    let mut worker = worker();
    for tag in 0..20 {
        let (input, output) = pipe().unwrap();
        let fds = [input.as_fd()];
        worker.try_call(Call::new(PROGRESS, &[b"half"]).fds(&fds), tag).unwrap();
        worker.try_call(Call::new(MANY, &[&bytes(0)]), 99).unwrap();
        let list = turn_until(&mut worker, |list| list.len() >= 3);
        let progress = |number| Told::Note(Some(tag), number, b"half".to_vec());
        assert_eq!(list, [0, 1, 2].map(progress), "and the request still runs");
        drop(output);
        let list = turn_until(&mut worker, |list| list.len() >= 3);
        let last = Told::Note(Some(tag), 3, b"at last".to_vec());
        let reply = Told::Reply(tag, b"before after".to_vec());
        assert_eq!(list, [last, reply, Told::Reply(99, bytes(0))]);
    }
    // A request without a tag, and one whose outcome is known.
    worker.try_send(Call::new(MANY, &[&bytes(1)])).unwrap();
    let list = turn_until(&mut worker, |list| !list.is_empty());
    assert_eq!(list, [Told::Note(None, 7, bytes(0))]);
    let (input, output) = pipe().unwrap();
    let id = worker.try_call(Call::new(PROGRESS, &[]).fds(&[input.as_fd()]), 5).unwrap();
    turn_until(&mut worker, |list| list.len() >= 3);
    assert!(worker.cancel(id));
    drop(output);
    let list = turn_until(&mut worker, |list| list.len() >= 2);
    assert!(list.contains(&Told::Cancelled(5)), "{list:?}");
    assert!(list.contains(&Told::Note(None, 3, b"at last".to_vec())), "{list:?}");
    assert_eq!(worker.counters().notes_dropped, 0);
}

pub(crate) fn a_worker_that_notes_without_end_is_not_held_while_main_looks_away() {
    let (mut worker, count) = (worker(), 100_000);
    let (input, output) = pipe().unwrap();
    for round in 1..=3 {
        call(&mut worker, MANY, count, output.as_fd(), 1);
        worker.turn(Instant::now());
        // Main takes nothing until the handler reports that it has finished.
        File::from(input.try_clone().unwrap()).read_exact(&mut [0]).unwrap();
        let list = turn_until(&mut worker, |list| matches!(list.last(), Some(Told::Reply(..))));
        let credit = u32::try_from(CREDIT).unwrap();
        let notes = (0..credit).map(|number| Told::Note(Some(1), 7, bytes(number)));
        let expected: Vec<Told> = notes.chain([Told::Reply(1, bytes(credit))]).collect();
        assert_eq!(list, expected);
        assert_eq!(worker.counters().notes_dropped, u64::from(round * (count - credit)));
    }
}

pub(crate) fn every_note_is_told_in_order_or_counted_and_every_request_answered() {
    let mut worker = worker();
    let (mut next, mut replies, mut notes, mut sent) = (0_u32, 0, 0, 0);
    // Notes are sent at once, even before replies that wait for the end of a batch.
    let mut last = None;
    while replies < 500 {
        while next < 500 && worker.has_room() {
            worker.try_call(Call::new(MANY, &[&bytes(40)]), next).unwrap();
            next += 1;
        }
        for told in turn_until(&mut worker, |list| !list.is_empty()) {
            match told {
                Told::Note(Some(tag), 7, number) => {
                    assert!(tag >= replies, "a note comes before its request's reply");
                    assert!(last.replace((tag, number.clone())) < Some((tag, number)), "order");
                    notes += 1;
                }
                Told::Reply(tag, count) => {
                    assert_eq!(tag, replies);
                    replies += 1;
                    sent += u64::from(u32::from_le_bytes(count[..].try_into().unwrap()));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((notes, notes + worker.counters().notes_dropped), (sent, 500 * 40));
    assert!(notes >= 16, "{notes}");
}

pub(crate) fn bytes_are_bounded_too_and_what_is_too_long_is_dropped() {
    let mut worker = worker();
    let mut note = |len: u32, count: usize| {
        worker.try_call(Call::new(SIZED, &[&bytes(len)]), 1).unwrap();
        worker.try_call(Call::new(SIZED, &[&bytes(len)]), 2).unwrap();
        let list = turn_until(&mut worker, |list| matches!(list.last(), Some(Told::Reply(2, _))));
        let len = usize::try_from(len).unwrap();
        let whole =
            list.iter().filter(|told| matches!(told, Told::Note(_, 8, it) if it.len() == len));
        assert_eq!((whole.count(), list.len()), (count, count + 2), "{list:?}");
    };
    note(512, 2);
    note(1025, 0);
    note(100_000, 0);
    note(0, 2);
    assert_eq!(worker.counters().notes_dropped, 4);
    // One note uses up the credit until main has taken it.
    let (input, output) = pipe().unwrap();
    for tag in [1, 2] {
        call(&mut worker, SIZED, 1024, output.as_fd(), tag);
        worker.turn(Instant::now());
        File::from(input.try_clone().unwrap()).read_exact(&mut [0]).unwrap();
    }
    let list = turn_until(&mut worker, |list| matches!(list.last(), Some(Told::Reply(2, _))));
    let note = Told::Note(Some(1), 8, vec![8; 1024]);
    assert_eq!(list, [note, Told::Reply(1, vec![1]), Told::Reply(2, vec![0])]);
}

pub(crate) fn notes_of_a_worker_that_dies_come_first_and_the_next_has_its_credit_anew() {
    let (mut worker, mut dropped) = (worker(), 0);
    for _ in 0..5 {
        worker.try_call(Call::new(EXIT, &[&bytes(20)]), 1).unwrap();
        let list = turn_until(&mut worker, |list| matches!(list.last(), Some(Told::Started(_))));
        let (notes, rest) = list.split_at(list.len() - 3);
        let expected =
            [Told::Died(Ended::Exited(3)), Told::Lost(1, How::Running), Told::Started(0)];
        assert_eq!(rest, expected);
        dropped += u64::try_from(20 - notes.len()).unwrap();
        assert!(notes.len() >= CREDIT, "{notes:?}");
        assert_eq!(worker.counters().notes_dropped, dropped);
    }
}

pub(crate) fn forged_notes_are_harmless() {
    over::only_the_socket();
    let mut worker = worker();
    // Id 0 is the first request, and id 1 the second; the others name no request.
    let others = [0, 2, 9, 1 << 32, 1 << 33 | 1, u64::MAX, 0xffff, 1 << 61].map(u64::to_le_bytes);
    let forged = [&others.concat()[..], &1_u64.to_le_bytes()].concat();
    worker.try_call(Call::new(FORGE, &[&forged]), 1).unwrap();
    worker.try_call(Call::new(MANY, &[&bytes(0)]), 2).unwrap();
    let list = turn_until(&mut worker, |list| list.len() >= 11);
    let tags: Vec<Option<u32>> = list
        .iter()
        .map_while(|told| match told {
            Told::Note(tag, 9, bytes) if bytes.is_empty() => Some(*tag),
            _ => None,
        })
        .collect();
    assert_eq!(tags[1..8], [None; 7]);
    assert_eq!((tags[0], tags[8]), (Some(1), Some(2)), "requests in flight");
    // As many as it likes, but only one buffer per turn.
    let most = 4096 / 24;
    worker.try_call(Call::new(FORGE_MANY, &[b"done"]), 3).unwrap();
    let (mut notes, mut is_done) = (0, false);
    while !is_done {
        worker.turn(Instant::now());
        let mut in_turn = 0;
        while let Some(event) = worker.next_event() {
            match told(event) {
                Told::Note(None, 9, _) => in_turn += 1,
                other => is_done = other == Told::Reply(3, b"done".to_vec()),
            }
        }
        assert!(in_turn <= most, "{in_turn} in one turn");
        notes += in_turn;
    }
    assert_eq!(notes, 20_000);
    let before = fds::open().len();
    worker.try_call(Call::new(FORGE_FD, &[]).reply_fds(1), 4).unwrap();
    let list = turn_until(&mut worker, |list| list.len() >= 3);
    let expected = [Told::Died(Ended::Killed(9)), Told::Lost(4, How::Running), Told::Started(0)];
    assert_eq!(list, expected, "a note carries no descriptor");
    assert_eq!(fds::open().len(), before);
}

pub(crate) fn notes_in_line_come_before_the_outcome() {
    let mut worker = Worker::<u32, _, 8, 4096>::start(Start::inline(handle)).unwrap();
    for tag in 0..4 {
        worker.try_call(Call::new(MANY, &[&bytes(2)]), tag).unwrap();
    }
    worker.try_send(Call::new(MANY, &[&bytes(1)])).unwrap();
    let list = turn_until(&mut worker, |list| list.len() >= 13);
    let one = |tag| {
        let note = |number| Told::Note(Some(tag), 7, bytes(number));
        [note(0), note(1), Told::Reply(tag, bytes(2))]
    };
    let mut expected: Vec<Told> = (0..4).flat_map(one).collect();
    expected.push(Told::Note(None, 7, bytes(0)));
    assert_eq!(list, expected);
    while worker.one_ways_under_way() > 0 {
        turn_until(&mut worker, |_| true);
    }
    // Notes that do not fit are dropped, and the reply is complete.
    let null = File::create("/dev/null").unwrap();
    for (tag, len) in [(1, 3000), (2, 1000), (3, 0)] {
        call(&mut worker, SIZED, len, null.as_fd(), tag);
    }
    let list = turn_until(&mut worker, |list| matches!(list.last(), Some(Told::Reply(3, _))));
    let note = |tag, len| Told::Note(Some(tag), 8, vec![8; len]);
    let expected = [
        Told::Reply(1, vec![0]),
        note(2, 1000),
        Told::Reply(2, vec![1]),
        note(3, 0),
        Told::Reply(3, vec![1]),
    ];
    assert_eq!((list.as_slice(), worker.counters().notes_dropped), (&expected[..], 1));
}

pub(crate) fn threads_that_note_without_end_hold_no_request_and_cut_into_no_frame() {
    // The kernel takes such replies in pieces, with room for notes in between.
    const LARGE: usize = 1 << 20;
    let mut place = Box::new_uninit();
    let worker = Worker::<u32, _, 4, LARGE>::start_in(&mut place, over::fork(handle)).unwrap();
    worker.try_call(Call::new(THREADS, &[]), 1).unwrap();
    let (mut next, mut replies, mut counts) = (100, 0, [0_u32; 2]);
    let body: Vec<u8> = (0..300_000_u32).map(|at| at.to_le_bytes()[at as usize % 3]).collect();
    while replies < 200 || counts.iter().sum::<u32>() < 1_000 {
        while next - replies < 103 && worker.has_room_for(body.len(), 0) {
            worker.try_call(Call::new(ECHO, &[&body]), next).unwrap();
            next += 1;
        }
        for told in turn_until(worker, |list| !list.is_empty()) {
            match told {
                Told::Note(None, number, count) => {
                    let expected = &mut counts[usize::from(number)];
                    assert_eq!(count, bytes(*expected), "each thread's notes are in order");
                    *expected += 1;
                }
                Told::Reply(1, _) => {}
                Told::Reply(tag, echo) => {
                    assert_eq!(tag, 100 + replies);
                    assert!(echo == body, "a note was inserted into the reply");
                    replies += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(worker.counters().notes_dropped > 0);
    assert_eq!(worker.stop(soon(), |_| ()), Some(Ended::Exited(0)));
}

pub(crate) fn last_words_of_a_panic_hook_come_before_the_death() {
    // Main has this hook too, where it does nothing.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !last_words(&info.to_string()) {
            usual(info);
        }
    }));
    assert!(!last_words("of main") && !note(7, b"of main"));
    let mut worker = worker();
    for count in [0, u32::try_from(CREDIT).unwrap(), 100] {
        worker.try_call(Call::new(PANIC, &[&bytes(count)]), 1).unwrap();
        let list = turn_until(&mut worker, |list| matches!(list.last(), Some(Told::Started(_))));
        let (notes, rest) = list.split_at(list.len() - 4);
        let before = Told::Note(None, 7, b"before".to_vec());
        assert!(notes.iter().all(|told| *told == before), "{notes:?}");
        let [Told::Note(None, Note::LAST_WORDS, words), rest @ ..] = rest else {
            panic!("{rest:?}")
        };
        let (words, is_cut) = (std::str::from_utf8(words).unwrap(), count == 100);
        assert!(words.contains(if is_cut { "sent, and éé" } else { "on purpose" }), "{words}");
        assert_eq!(is_cut, (1023..=1024).contains(&words.len()), "{words}");
        let expected =
            [Told::Died(Ended::Exited(101)), Told::Lost(1, How::Running), Told::Started(0)];
        assert_eq!(rest, expected);
    }
}

/// Sends notes while it is created, when only the first frame may be sent.
struct Hasty;

impl Handler for Hasty {
    fn prepare(&mut self) -> Result<(), Reason> {
        assert!(!note(7, b"too early") && !last_words("too early"));
        Ok(())
    }

    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        handle(request, reply)
    }
}

pub(crate) fn a_note_is_sent_by_a_worker_that_is_ready_and_by_no_other_process() {
    let mut worker = Worker::<u32, _, 8, 4096>::start(over::fork(Hasty)).unwrap();
    worker.try_call(Call::new(FORK, &[]), 1).unwrap();
    let list = turn_until(&mut worker, |list| list.len() >= 2);
    assert_eq!(list, [Told::Note(None, 7, b"in the worker".to_vec()), Told::Reply(1, vec![1])]);
    assert_eq!(worker.counters().notes_dropped, 2);
    let mut worker = Worker::<u32, _, 8, 4096>::start(Start::inline(Hasty)).unwrap();
    worker.try_call(Call::new(FORK, &[]), 1).unwrap();
    let list = turn_until(&mut worker, |list| !list.is_empty());
    assert_eq!(list, [Told::Reply(1, vec![0])]);
}
