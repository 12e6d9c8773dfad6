//! The laws of [`PassFds`], in the words of its contract.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ipc_frame::Header;
use ipc_tests::fds::{self, Fds, file, id_of};
use ipc_transport::{FdList, FdsLost, Inbox, Outbox, PassFds, Received, TransportError, duplicate};
use rustix::process::{Resource, getrlimit};

use crate::bytes::{patiently, receive_exactly, send_all, settled};

fn null() -> File {
    File::open("/dev/null").unwrap()
}

pub(crate) fn send_with(to: &mut impl PassFds, bytes: &[u8], fds: &[&OwnedFd]) -> usize {
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    patiently(|| settled(to.send_with(&[bytes], &fds)))
}

pub(crate) fn receive_with(from: &mut impl PassFds, space: &mut [u8], fds: &mut Fds) -> Received {
    patiently(|| settled(from.receive_with(space, &mut fds.fds())))
}

pub(crate) fn descriptors_ride_on_the_first_byte_of_their_call<A: PassFds, B: PassFds>(
    pair: fn() -> (A, B),
) {
    let (mut left, mut right) = pair();
    let (own, mut space, mut fds) = (file(), [0; 16], Fds::new());
    send_all(&mut left, b"ab");
    let taken = send_with(&mut left, b"cdef", &[&own]);
    let mut position = 0;
    while position < 2 + taken {
        let received = receive_with(&mut right, &mut space[..1], &mut fds);
        assert_eq!(received, Received { len: 1, fds_truncated: false });
        assert_eq!(fds.len(), usize::from(position >= 2), "at byte {position}");
        position += 1;
    }
    assert_eq!(id_of(&fds[0]), id_of(&own), "and the sender keeps its own");
}

pub(crate) fn all_go_however_few_bytes_were_taken<A: PassFds, B: PassFds>(pair: fn() -> (A, B)) {
    let (mut left, mut right) = pair();
    let (own, mut space, mut fds) = (file(), vec![0; 300_000], Fds::new());
    let bytes = vec![1; 300_000];
    let taken = send_with(&mut left, &bytes, &[&own, &own]);
    assert!(taken > 0);
    receive_with(&mut right, &mut space[..1], &mut fds);
    assert_eq!(fds.len(), 2);
    receive_exactly(&mut right, taken - 1);
    // The rest of the bytes goes without them.
    send_all(&mut left, &bytes[..3]);
    let received = receive_with(&mut right, &mut space, &mut fds);
    assert_eq!((fds.len(), received.fds_truncated), (2, false));
}

pub(crate) fn would_block_sends_no_descriptor<A: PassFds, B: PassFds>(pair: fn() -> (A, B)) {
    let (mut left, mut right) = pair();
    let own = file();
    let (mut sent, mut refused) = (0, 0);
    while refused < 60 {
        let answer = settled(left.send(&[&[5; 100]]));
        sent += answer.unwrap_or(0);
        refused = if answer.is_some() { 0 } else { refused + 1 };
    }
    let before = fds::open().len();
    for _ in 0..20 {
        let answer = settled(left.send_with(&[b"x"], &[own.as_fd()]));
        if let Some(len) = answer {
            // A single byte may find room where many do not; then it brings its descriptor.
            assert_eq!(len, 1);
            sent += 1;
            continue;
        }
        assert_eq!(fds::open().len(), before);
    }
    let (mut space, mut fds, mut last) = (vec![0; 5_000], Fds::new(), Vec::new());
    while sent > 0 {
        let received = receive_with(&mut right, &mut space, &mut fds);
        sent -= received.len;
        last.extend_from_slice(&space[..received.len]);
    }
    let singles = last.iter().filter(|&&byte| byte == b'x').count();
    assert_eq!(fds.len(), singles, "one with each byte that was taken, none else");
}

pub(crate) fn from_none_to_253_arrive_in_order_and_closed_on_exec<A: PassFds, B: PassFds>(
    pair: fn() -> (A, B),
) {
    let (mut left, mut right) = pair();
    let (null, other) = (OwnedFd::from(null()), file());
    let (mut space, mut fds) = ([0; 16], Fds::new());
    for count in [0, 1, 2, 7, 252, 253] {
        let mut list = vec![&null; count];
        if let Some(last) = list.last_mut() {
            *last = &other;
        }
        assert_eq!(send_with(&mut left, b"x", &list), 1);
        let received = receive_with(&mut right, &mut space, &mut fds);
        assert_eq!(received, Received { len: 1, fds_truncated: false });
        assert_eq!(fds.len(), count);
        for fd in fds.iter() {
            let flags = rustix::io::fcntl_getfd(fd).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC) && fd.as_raw_fd() > 2);
        }
        if let Some(last) = fds.last() {
            assert_eq!(id_of(last), id_of(&other), "the order is kept");
        }
        fds.fds().clear();
    }
    let many = vec![null.as_fd(); 254];
    let refused = patiently(|| match left.send_with(&[b"x"], &many) {
        Err(error) if !matches!(error, TransportError::System(_)) => Some(error),
        _ => None,
    });
    assert_eq!(refused, TransportError::TooManyFds { count: 254 });
    assert_eq!(settled(right.receive(&mut space)), None, "nothing was sent");
}

pub(crate) fn one_call_gives_those_of_one_sending_call_and_no_later_byte<A: PassFds, B: PassFds>(
    pair: fn() -> (A, B),
) {
    let (mut left, mut right) = pair();
    let files = [file(), file(), file()];
    let (mut ends, mut position) = (Vec::new(), 0);
    for file in &files {
        send_all(&mut left, b"..");
        position += 2 + send_with(&mut left, b"with", &[file]);
        ends.push(position);
    }
    let (mut space, mut arrived, mut ids) = ([0; 200], 0, Vec::new());
    while arrived < position {
        let mut fds = Fds::new();
        let received = receive_with(&mut right, &mut space, &mut fds);
        arrived += received.len;
        assert!(fds.len() < 2, "those of one call");
        if let Some(fd) = fds.first() {
            assert!(arrived <= ends[ids.len()], "no byte after those that brought them");
            ids.push(id_of(fd));
        }
    }
    assert_eq!(ids, files.each_ref().map(id_of));
}

pub(crate) fn plain_receiving_drops_descriptors<A: PassFds, B: PassFds>(pair: fn() -> (A, B)) {
    let (mut left, mut right) = pair();
    let own = file();
    let before = fds::open().len();
    for _ in 0..10 {
        let taken = send_with(&mut left, b"with", &[&own; 40]);
        receive_exactly(&mut right, taken);
        assert_eq!(fds::open().len(), before);
    }
    send_all(&mut left, b"more");
    let mut fds = Fds::new();
    receive_with(&mut right, &mut [0; 8], &mut fds);
    assert!(fds.is_empty());
}

pub(crate) fn what_the_list_cannot_hold_is_closed_and_told<A: PassFds, B: PassFds>(
    pair: fn() -> (A, B),
) {
    let (mut left, mut right) = pair();
    let own = file();
    let before = fds::open().len();
    send_with(&mut left, b"x", &[&own; 5]);
    let mut fds = FdList::<2>::new();
    let received = patiently(|| settled(right.receive_with(&mut [0; 4], &mut fds.fds())));
    assert_eq!((received.fds_truncated, fds.len()), (true, 2));
    drop(fds);
    assert_eq!(fds::open().len(), before);
}

pub(crate) fn descriptors_under_way_are_closed_with_the_connection<A: PassFds, B: PassFds>(
    pair: fn() -> (A, B),
) {
    let before = fds::open().len();
    let own = file();
    for receiver_first in [false, true] {
        // The open file goes with its last descriptor: that is seen at the writer's end.
        let (reader, writer) = std::io::pipe().unwrap();
        let writer = OwnedFd::from(writer);
        let (mut left, right) = pair();
        send_with(&mut left, b"under way", &[&own, &writer]);
        drop(writer);
        if receiver_first {
            drop(right);
            drop(left);
        } else {
            drop(left);
            drop(right);
        }
        let mut watched =
            [ipc_transport::Watched::new(reader.as_fd(), ipc_transport::Interest::End)];
        let deadline = ipc_tests::forked::soon();
        assert!(ipc_transport::wait(&mut watched, Some(deadline)).unwrap(), "still open");
    }
    drop(own);
    assert_eq!(fds::open().len(), before);
}

pub(crate) fn a_thousand_losses_leave_the_stream_in_step<A: PassFds, B: PassFds>(
    pair: fn() -> (A, B),
) {
    let (mut left, mut right) = pair();
    let mut outbox = Outbox::<4096, 32>::new();
    let mut inbox = Inbox::<4096>::new();
    let own = file();
    let usual = getrlimit(Resource::Nofile).current.unwrap();
    let null = null();
    let before = fds::open().len();
    for round in 0..1_000 {
        // That of what all of this user's processes have on the way (unix(7)), too.
        fds::limit(usual);
        for count in [2, 0, 1] {
            let mut fds = Fds::new();
            for _ in 0..count {
                fds.fds().push(duplicate(own.as_fd()).unwrap()).unwrap();
            }
            outbox.push_with(Header::request(1, round), &[b"x"], &mut fds.fds()).unwrap();
        }
        assert!(outbox.flush_with(&mut left).unwrap().complete);
        outbox.retire_sent();
        // Room for none, or for one of two.
        fds::limit(32);
        let mut hoard: Vec<File> = std::iter::from_fn(|| null.try_clone().ok()).collect();
        let room = usize::from(round % 2 == 1);
        hoard.truncate(hoard.len() - room);
        assert!(fds::receive(&mut inbox, &mut right).unwrap().is_some());
        assert_eq!(inbox.advance().unwrap().unwrap().id(), round);
        assert_eq!(inbox.current().fds_lost, Some(FdsLost { expected: 2, got: room }));
        assert_eq!(inbox.current().payload, b"x");
        drop(hoard);
        let mut whole = 0;
        for _ in 0..4 {
            fds::receive(&mut inbox, &mut right).unwrap();
            while let Some(header) = inbox.advance().unwrap() {
                let arrival = inbox.current();
                assert_eq!(
                    (header.id(), arrival.fds_lost, arrival.payload),
                    (round, None, &b"x"[..])
                );
                assert!(arrival.fds.iter().all(|fd| id_of(fd) == id_of(&own)));
                assert_eq!(arrival.fds.iter().count(), whole, "none, then one");
                whole += 1;
            }
        }
        assert_eq!(whole, 2, "the next frames are right");
        assert_eq!(fds::open().len(), before, "round {round}");
    }
}
