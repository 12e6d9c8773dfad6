//! Messages from a main or worker that was built differently, or is hostile.

use ipc_tests::over::{self, Over};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipc_tests::fds;
use ipc_worker::{
    BadReply, Call, Encode, Fork, Inline, Launch, MessageError, Outcome, Postcard, Refusal, Reply,
    Request, Start, Worker,
};

use crate::service::*;

fn forked() -> Typed<Fork<Served, Over>> {
    Worker::start(over::fork(disk::Server(Disk::default()))).unwrap()
}

fn inline() -> Typed<Inline<Served>> {
    Worker::start(Start::inline(disk::Server(Disk::default()))).unwrap()
}

/// Returns how many methods were called.
fn asked<L: Launch>(worker: &mut Typed<L>) -> u64 {
    disk::asked::call(worker, 0).unwrap();
    reply(worker, |reply| disk::asked::result(&reply).unwrap())
}

pub(crate) fn an_unknown_method_is_a_refusal() {
    fn check<L: Launch>(mut worker: Typed<L>) {
        for method in [0, 19, 99, 101, u16::MAX] {
            worker.try_call(Call::new(method, &[b"bytes"]), 1).unwrap();
            assert_eq!(refusal(&mut worker), Refusal::UNKNOWN_METHOD);
        }
    }
    check(forked());
    check(inline());
}

fn bytes_of(message: impl Encode) -> Vec<u8> {
    let mut bytes = vec![0; message.encoded_len().unwrap()];
    assert_eq!(message.encode(&mut bytes), Ok(bytes.len()));
    bytes
}

pub(crate) fn every_cut_of_a_valid_request_is_a_refusal_and_asks_nobody() {
    check_cuts(forked());
    check_cuts(inline());
}

fn check_cuts<L: Launch>(mut worker: Typed<L>) {
    let null = File::open("/dev/null").unwrap();
    let one: &[BorrowedFd<'_>] = &[null.as_fd()];
    let line = Line { number: 300, text: "a line of text" };
    let kinds = vec![Kind::Tuple(1000, true), Kind::Newtype("text".to_owned())];
    let everything = Everything { kinds, ..Everything::default() };
    let valid: [(u16, Vec<u8>, &[BorrowedFd<'_>]); 3] = [
        (disk::append::METHOD, bytes_of(Postcard((line,))), one),
        (disk::all::METHOD, bytes_of(Postcard((everything, (1_u8, -300_i16)))), &[]),
        (disk::joined::METHOD, bytes_of(Postcard(("first", &b"second"[..], 70_000_u32))), &[]),
    ];
    for (method, bytes, fds) in &valid {
        for len in 0..bytes.len() {
            let cut: &[u8] = bytes.get(..len).unwrap();
            worker.try_call(Call::new(*method, &[cut]).fds(fds), 1).unwrap();
            assert_eq!(refusal(&mut worker), Refusal::MALFORMED, "{method}: {len}");
        }
        worker.try_call(Call::new(*method, &[bytes, &[0]]).fds(fds), 1).unwrap();
        assert_eq!(refusal(&mut worker), Refusal::MALFORMED, "{method}: a byte too many");
    }
    assert_eq!(asked(&mut worker), 0);
    // The second one, complete, is valid.
    let (method, bytes, fds) = &valid[1];
    worker.try_call(Call::new(*method, &[bytes]).fds(fds), 1).unwrap();
    reply(&mut worker, |reply| drop(disk::all::result(&reply).unwrap()));
    assert_eq!(asked(&mut worker), 1);
}

/// Returns the next pseudo-random number (xorshift).
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

pub(crate) fn random_bytes_are_a_result_or_a_refusal_and_never_a_panic() {
    check_random(forked());
    check_random(inline());
}

fn check_random<L: Launch>(mut worker: Typed<L>) {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let methods = [1, 2, 3, 4, 5, 6, 9, 11];
    let (mut replies, mut malformed, mut other) = (0, 0, 0);
    for (round, &method) in (0..20_000_u32).zip(methods.iter().cycle()) {
        let len = usize::try_from(next(&mut state) % 24).unwrap();
        // Small numbers, since they are more often valid lengths and kinds.
        let small = next(&mut state).is_multiple_of(2);
        let mask = if small { 7 } else { 255 };
        let bytes: Vec<u8> =
            (0..len).map(|_| u8::try_from(next(&mut state) & mask).unwrap()).collect();
        worker.try_call(Call::new(method, &[&bytes]), round).unwrap();
        outcome(&mut worker, |outcome| match outcome {
            Outcome::Reply(reply) => {
                replies += 1;
                // Another method's reply gives an error or a value, and nothing worse.
                drop(disk::all::result(&reply));
                _ = disk::append::result(&reply);
                _ = disk::joined::result(&reply);
            }
            Outcome::Refused(Refusal::MALFORMED) => malformed += 1,
            Outcome::Refused(_) => other += 1,
            outcome => panic!("{outcome:?}"),
        });
    }
    assert!(replies > 100 && malformed > 1000 && other > 100, "{replies} {malformed} {other}");
}

pub(crate) fn a_wrong_number_of_descriptors_is_a_refusal_and_asks_nobody() {
    check_counts(forked());
    check_counts(inline());
}

fn check_counts<L: Launch>(mut worker: Typed<L>) {
    let null = File::open("/dev/null").unwrap();
    let line = bytes_of(Postcard((Line { number: 1, text: "" },)));
    let before = fds::open().len();
    for count in [0, 2, 3, 253] {
        let fds = vec![null.as_fd(); count];
        worker.try_call(Call::new(disk::append::METHOD, &[&line]).fds(&fds), 1).unwrap();
        assert_eq!(refusal(&mut worker), Refusal::WRONG_FDS, "{count}");
    }
    // Also for methods that take no descriptors, declared or not.
    for method in [disk::nothing::METHOD, disk::exit::METHOD] {
        worker.try_call(Call::new(method, &[]).fds(&[null.as_fd()]), 1).unwrap();
        assert_eq!(refusal(&mut worker), Refusal::WRONG_FDS);
    }
    assert_eq!(asked(&mut worker), 0);
    assert!(worker.next_event().is_none());
    assert_eq!(fds::open().len(), before, "all are closed");
}

/// Replies with the request's own bytes and descriptors, whatever the method.
fn forge(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    reply.put(request.bytes())?;
    while let Some(fd) = request.take_fd() {
        reply.put_fd(fd)?;
    }
    Ok(())
}

/// Lets the worker reply with these bytes and `fd_count` descriptors, and reads the reply.
fn forged<L: Launch, R>(
    worker: &mut Worker<u32, L>,
    bytes: &[u8],
    fd_count: usize,
    read: impl Fn(ipc_worker::ReplyView<'_>) -> R,
) -> R {
    let null = File::open("/dev/null").unwrap();
    let fds = vec![null.as_fd(); fd_count];
    worker.try_call(Call::new(1, &[bytes]).fds(&fds).reply_fds(253), 1).unwrap();
    reply(worker, read)
}

pub(crate) fn a_wrong_reply_is_an_error_of_its_own() {
    let mut worker = Worker::<u32, _>::start(over::fork(forge)).unwrap();
    let worker = &mut worker;
    let malformed = |error| BadReply::Message(error);
    let len = |reply: ipc_worker::ReplyView<'_>| disk::append::result(&reply);
    assert_eq!(forged(worker, &[172, 2], 0, len), Ok(300));
    let truncated = MessageError::Truncated { len: 1 };
    assert_eq!(forged(worker, &[172], 0, len), Err(malformed(truncated)));
    let left_over = MessageError::LeftOver { len: 3, used: 2 };
    assert_eq!(forged(worker, &[172, 2, 0], 0, len), Err(malformed(left_over)));
    let error = forged(worker, &[255; 11], 0, len);
    assert_eq!(error, Err(malformed(MessageError::Malformed { len: 11 })));
    let not_utf8 = forged(worker, &[1, 0xff], 0, |reply| disk::joined::result(&reply).err());
    assert_eq!(not_utf8, Some(malformed(MessageError::Malformed { len: 2 })));

    let wrong = |expected, got| Err::<(), _>(BadReply::Fds { expected, got });
    for got in [1, 2, 253] {
        let result = forged(worker, &[172, 2], got, |reply| disk::append::result(&reply).map(drop));
        assert_eq!(result, wrong(0, got));
    }
    assert!(worker.next_event().is_none(), "this closes the last reply's descriptors");
    let before = fds::open().len();
    let sockets = |reply: ipc_worker::ReplyView<'_>| disk::sockets::result(reply);
    for got in [0, 1, 3] {
        let result = forged(worker, &[3], got, sockets).map(drop);
        assert_eq!(result, wrong(2, got));
    }
    let (len, fds): (usize, [OwnedFd; 2]) = forged(worker, &[3], 2, sockets).unwrap();
    assert_eq!((len, fds.len()), (3, 2));
    assert!(worker.next_event().is_none());
    drop(fds);
    assert_eq!(fds::open().len(), before);
}
