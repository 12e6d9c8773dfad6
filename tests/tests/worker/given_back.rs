//! Requests that are returned: lost with their worker, or never sent.

use ipc_tests::over;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use ipc_frame::Header;
use ipc_tests::{cases::skip, fds};
use ipc_transport::{PassFds, Stream, TransportError};
use ipc_worker::{
    Again, Call, Ended, Event, How, Instant, Launch, Outcome, Refusal, Reply, Request, Worker,
};

use crate::handler::*;

/// A lost request as returned: how it was lost, its method, its bytes, and its files.
type Back = (How, u16, Vec<u8>, Vec<u64>);

/// Returns the lost request with this tag, if the event is about it.
fn back(event: Event<'_, u32>, wanted: u32) -> Option<Back> {
    let Event::Done { tag, outcome: Outcome::Lost(mut lost) } = event else { return None };
    let ids: Vec<u64> = lost.fds().map(fds::id_of).collect();
    // Some are taken; the next event closes the others.
    let first = lost.take_fd().map(fds::id_of);
    assert_eq!(first, ids.first().copied());
    assert_eq!(lost.fds().count() + usize::from(first.is_some()), ids.len());
    (tag == wanted).then(|| (lost.how, lost.method(), lost.bytes().to_vec(), ids))
}

/// Main had to close them, which can take as long as the sender likes.
pub(crate) fn repro_descriptors_that_nobody_asked_for_cannot_be_sent() {
    let (probe, _peer) = Stream::pair().unwrap();
    if !fds::pass_rights(probe.as_fd(), false) {
        skip("SO_PASSRIGHTS", "kernel 6.16");
    }
    let mut worker = Worker::<u32, _>::start(over::fork(sends_one_itself)).unwrap();
    let errno = i32::to_le_bytes;
    let mut list = Vec::new();
    worker.call_until(Call::new(ECHO, &[]), 0, soon(), |event| list.push(told(event))).unwrap();
    assert_eq!(list, [Told::Reply(0, errno(libc::EPERM).to_vec())]);
    let mut came = 0;
    let call = Call::new(GIVE, &[]).reply_fds(1);
    let called = worker.call_until(call, 1, soon(), |event| {
        if let Event::Done { outcome: Outcome::Reply(mut reply), .. } = event {
            came += usize::from(reply.take_fd().is_some());
        }
    });
    called.unwrap();
    assert_eq!(came, 1, "the requested descriptor arrives");
}

const GIVE: u16 = ECHO + 1000;

/// Sends a stray frame with a descriptor directly, bypassing the crate's checks.
fn sends_one_itself(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    if request.method() == GIVE {
        return reply.put_fd(fds::file());
    }
    let socket = rustix::io::dup(fds::own_socket()).unwrap();
    let frame = Header::reply(u64::MAX).encode_with(0, 1, 0).unwrap();
    let sent = Stream::from(socket).send_with(&[&frame], &[fds::file().as_fd()]);
    let errno = match sent {
        Err(TransportError::FdsRefused(error)) => error.errno.0,
        other => panic!("{other:?}"),
    };
    reply.put(&errno.to_le_bytes())
}

pub(crate) fn a_lost_request_brings_its_bytes_and_descriptors_back() {
    let mut worker = worker();
    let files = [fds::file(), fds::file(), fds::file()];
    let ids: Vec<u64> = files.iter().map(fds::id_of).collect();
    let borrowed = files.each_ref().map(AsFd::as_fd);
    let before = fds::open().len();
    for again in [Again::IfNotBegun, Again::Never] {
        let call = Call::new(EXIT, &[b"one ", b"two ", b"three"]).fds(&borrowed).again(again);
        let mut came = None;
        worker.call_until(call, 1, soon(), |event| came = came.take().or(back(event, 1))).unwrap();
        let expected = (How::Running, EXIT, b"one two three".to_vec(), ids.clone());
        assert_eq!(came, Some(expected), "{again:?}");
        assert_eq!(call_in(&mut worker, ECHO, b"next"), Told::Reply(0, b"next".to_vec()));
    }
    assert_eq!(fds::open().len(), before, "its duplicates are closed");
}

pub(crate) fn what_stop_loses_is_given_back_too() {
    let mut worker = worker();
    let file = fds::file();
    worker.try_call(Call::new(SLEEP_MS, &[&LONG]), 1).unwrap();
    let fds = [file.as_fd()];
    worker.try_call(Call::new(WRITE, &[b"not ", b"written"]).fds(&fds), 2).unwrap();
    let mut came = None;
    let deadline = Instant::now() + Duration::from_millis(50);
    worker.stop(deadline, |event| came = came.take().or(back(event, 2)));
    let expected = (How::NotBegun, WRITE, b"not written".to_vec(), vec![fds::id_of(&file)]);
    assert_eq!(came, Some(expected));
}

/// Calls with a descriptor that the kernel does not pass, among others.
fn check_unsendable<L: Launch>(mut worker: Worker<u32, L>, fd: &OwnedFd, errno: i32) {
    let pid = worker.pid();
    let open = fds::open().len();
    let fds = [fd.as_fd()];
    for _ in 0..3 {
        worker.try_call(Call::new(ECHO, &[b"before"]), 1).unwrap();
        worker.try_call(Call::new(ECHO, &[b"poison"]).fds(&fds), 2).unwrap();
        worker.try_send(Call::new(ECHO, &[b"poison"]).fds(&fds)).unwrap();
        worker.try_call(Call::new(ECHO, &[b"beside"]), 3).unwrap();
        let mut list = turn_until(&mut worker, |list| list.len() == 3);
        list.sort_by_key(|told| !matches!(told, Told::Unsendable(..)));
        let reply = |tag, text: &[u8]| Told::Reply(tag, text.to_vec());
        let expected = [Told::Unsendable(2, errno), reply(1, b"before"), reply(3, b"beside")];
        assert_eq!(list, expected);
    }
    assert_eq!((worker.pid(), worker.counters().one_ways_lost), (pid, 3), "the same worker");
    assert_eq!(fds::open().len(), open, "their duplicates are closed");
    assert_eq!(worker.stop(soon(), |_| ()), Some(Ended::Exited(0)));
}

pub(crate) fn an_io_uring_is_unsendable_and_harms_no_other_request() {
    let Some(ring) = fds::io_uring(0) else {
        skip("sending an io_uring: io_uring_setup is refused here", "a kernel that allows it");
    };
    assert!(ring.as_raw_fd() > 2);
    check_unsendable(worker(), &ring, libc::EINVAL);
}

pub(crate) fn a_worker_that_refuses_descriptors_makes_them_unsendable() {
    let mut worker = worker();
    if call(&mut worker, NO_RIGHTS, b"") != Told::Reply(0, vec![1]) {
        skip("refusing descriptors: no SO_PASSRIGHTS here", "Linux 6.16 or later");
    }
    check_unsendable(worker, &fds::file(), libc::EPERM);
}

pub(crate) fn a_reply_with_descriptors_that_nobody_allowed_ends_the_worker() {
    over::only_the_socket();
    for beside in [0, 2] {
        let mut worker = worker();
        // Like kernels before 6.16.
        fds::pass_rights(fds::own_socket(), true);
        let before = fds::open().len();
        // The kernel lets them in if another reply may carry some.
        worker.try_call(Call::new(UNASKED_FD, &[]), 1).unwrap();
        worker.try_call(Call::new(PIPE, &[b"x"]).reply_fds(beside), 2).unwrap();
        let list = turn_until(&mut worker, |list| list.len() == 4);
        assert_eq!(list[..2], [Told::Died(Ended::Killed(9)), Told::Lost(1, How::Running)]);
        assert_eq!(list[2], Told::Started(1));
        let counters = worker.counters();
        assert_eq!((counters.stray_fds, counters.broken_frames), (1, 1));
        worker.turn(Instant::now());
        assert_eq!(fds::open().len(), before, "{beside}");
    }
}
