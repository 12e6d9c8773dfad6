//! Descriptors that reach their own frames whatever happens on the way, and what belongs to one
//! transport.

#![expect(
    unsafe_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and closes standard streams"
)]

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use heapless::{Vec as FixedVec, VecView};
use ipc_frame::{Header, Kind, MAX_FDS, PushError};
use ipc_tests::cases::skip;
use ipc_tests::forked::{end_of, forked, soon};
use ipc_tests::storm::Storm;
use ipc_tests::{cases, fds};
use ipc_transport::{
    FdsLost, Inbox, InboxError, Instant, Interest, Loopback, Outbox, PassFds, Patience, Received,
    Stream, Transport, TransportError, Waiter, Watched, above_stdio, duplicate, open_stdio, wait,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

type Fds = FixedVec<OwnedFd, 253>;

/// A file that can be told from every other by [`id_of`].
fn file() -> OwnedFd {
    tempfile::tempfile().unwrap().into()
}

fn id_of(fd: impl AsFd) -> u64 {
    rustix::fs::fstat(fd).unwrap().st_ino
}

/// A frame as it stands on the wire.
fn frame(id: u64, fds: (u16, u32), payload: &[u8]) -> Vec<u8> {
    let header = Header {
        len: u32::try_from(payload.len()).unwrap(),
        fd_count: fds.0,
        fd_sequence: fds.1,
        ..Header::new(Kind::Request, 1, id)
    };
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// What a frame brought, with nothing borrowed.
#[derive(Debug, PartialEq)]
struct Got {
    id: u64,
    payload: Vec<u8>,
    files: Vec<u64>,
    lost: Option<FdsLost>,
}

fn got(id: u64, payload: &[u8], files: &[u64]) -> Got {
    Got { id, payload: payload.to_vec(), files: files.to_vec(), lost: None }
}

/// Takes every whole frame of an inbox.
fn take<const N: usize>(inbox: &mut Inbox<N>, list: &mut Vec<Got>) {
    while let Some(header) = inbox.advance().unwrap() {
        let arrival = inbox.current();
        let files = arrival.fds.iter().map(id_of).collect();
        assert!(arrival.fds.iter().all(is_cloexec));
        let payload = arrival.payload.to_vec();
        list.push(Got { id: header.id, payload, files, lost: arrival.fds_lost });
    }
}

/// Receives and takes until nothing is there.
fn take_all<const N: usize>(inbox: &mut Inbox<N>, from: &mut impl PassFds, list: &mut Vec<Got>) {
    loop {
        let received = inbox.receive(from).unwrap();
        take(inbox, list);
        if received.is_none() {
            return;
        }
    }
}

fn is_cloexec(fd: &OwnedFd) -> bool {
    rustix::io::fcntl_getfd(fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC)
}

/// Changes how many descriptors the process may open.
fn limit_fds(limit: u64) {
    let whole = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit), ..whole }).unwrap();
}

/// Sends nothing in between but what was sent: a transport with any number of short writes.
struct Short<'a> {
    inner: &'a mut Stream,
    /// Bytes that the next calls take at most; `None` would block.
    lens: VecDeque<Option<usize>>,
}

impl Short<'_> {
    fn cut<'p>(&mut self, pieces: &[&'p [u8]]) -> Option<Vec<&'p [u8]>> {
        let mut rest = self.lens.pop_front().unwrap_or(Some(usize::MAX))?;
        let mut cut = Vec::new();
        for piece in pieces {
            let len = piece.len().min(rest);
            cut.push(&piece[..len]);
            rest -= len;
        }
        Some(cut)
    }
}

impl Transport for Short<'_> {
    fn send(&mut self, pieces: &[&[u8]]) -> Result<Option<usize>, TransportError> {
        match self.cut(pieces) {
            Some(pieces) => self.inner.send(&pieces),
            None => Ok(None),
        }
    }

    fn receive(&mut self, space: &mut [u8]) -> Result<Option<usize>, TransportError> {
        self.inner.receive(space)
    }
}

impl PassFds for Short<'_> {
    fn send_with(
        &mut self,
        pieces: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Option<usize>, TransportError> {
        match self.cut(pieces) {
            Some(pieces) => self.inner.send_with(&pieces, fds),
            None => Ok(None),
        }
    }

    fn receive_with(
        &mut self,
        space: &mut [u8],
        fds: &mut VecView<OwnedFd>,
    ) -> Result<Option<Received>, TransportError> {
        self.inner.receive_with(space, fds)
    }
}

fn a_loopback_takes_as_many_bytes_as_fit() {
    let mut loopback = Loopback::<16>::new();
    let (mut left, mut right) = loopback.ends();
    assert_eq!(left.send(&[&[7; 20]]), Ok(Some(16)), "as many as fit");
    assert_eq!(left.send(&[&[7; 20]]), Ok(None), "full");
    assert_eq!(right.receive(&mut [0; 5]), Ok(Some(5)));
    assert_eq!(left.send(&[&[7; 20]]), Ok(Some(5)));
    assert_eq!(left.receive(&mut [0; 5]), Ok(None), "the directions are apart");
}

fn repro_empty_pieces_hide_none_that_come_after() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut pieces: Vec<&[u8]> = vec![&[]; 40];
    pieces.push(b"here");
    assert_eq!(left.send(&pieces), Ok(Some(4)));
    let null = File::open("/dev/null").unwrap();
    assert_eq!(left.send_with(&pieces, &[null.as_fd()]), Ok(Some(4)));
    let (mut space, mut fds) = ([0; 16], Fds::new());
    assert_eq!(right.receive(&mut space[..4]), Ok(Some(4)));
    let received = right.receive_with(&mut space, &mut fds).unwrap().unwrap();
    assert_eq!((received.len, fds.len()), (4, 1));
}

fn more_pieces_than_one_call_takes_go_out_in_order() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let bytes: Vec<u8> = (0..100).collect();
    let mut rest: Vec<&[u8]> = bytes.chunks(1).collect();
    while !rest.is_empty() {
        let sent = left.send(&rest).unwrap().unwrap();
        rest.drain(..sent);
    }
    let mut space = [0; 200];
    assert_eq!(right.receive(&mut space), Ok(Some(100)));
    assert_eq!(space[..100], bytes);
}

fn descriptors_reach_their_frames_in_batches() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut outbox = Outbox::<4096, 32>::new();
    let mut inbox = Inbox::<4096>::new();
    let before = fds::open().len();
    let mut sequence = 0;
    for round in 0..50_usize {
        let mut expected = Vec::new();
        for index in 0..12_usize {
            let count = [0, 2, 0, 0, 1, 3, 0][(index + round) % 7];
            let mut fds = Fds::new();
            for _ in 0..count {
                fds.push(file()).unwrap();
            }
            let files: Vec<u64> = fds.iter().map(id_of).collect();
            let payload = vec![u8::try_from(index).unwrap(); index * 5];
            let header = Header::new(Kind::Request, 1, sequence);
            outbox.push_with(header, &[&payload], &mut fds).unwrap();
            expected.push(got(sequence, &payload, &files));
            sequence += 1;
        }
        assert!(outbox.flush(&mut left).unwrap().complete);
        let mut list = Vec::new();
        take_all(&mut inbox, &mut right, &mut list);
        assert_eq!(list, expected);
        outbox.retire_sent();
        assert_eq!(fds::open().len(), before, "all copies are closed");
    }
}

fn short_writes_and_full_sockets_keep_frames_and_descriptors() {
    let mut state = 0x9e37_79b9_u32;
    let mut random = move |below: u32| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        usize::try_from(state % below).unwrap()
    };
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut outbox = Outbox::<4096, 16>::new();
    let mut inbox = Inbox::<1024>::new();
    let mut expected = Vec::new();
    let mut list = Vec::new();
    for id in 0..600 {
        let mut fds = Fds::new();
        for _ in 0..[0, 0, 1, 3][random(4)] {
            fds.push(file()).unwrap();
        }
        let payload = vec![u8::try_from(id % 251).unwrap(); random(150)];
        let files: Vec<u64> = fds.iter().map(id_of).collect();
        let header = Header::new(Kind::Request, 1, id);
        while outbox.push_with(header, &[&payload], &mut fds).is_err() {
            let lens = (0..4).map(|_| Some(random(60)).filter(|&len| len > 3)).collect();
            outbox.flush(&mut Short { inner: &mut left, lens }).unwrap();
            outbox.retire_sent();
            take_all(&mut inbox, &mut right, &mut list);
        }
        assert!(fds.is_empty());
        expected.push(got(id, &payload, &files));
    }
    assert!(outbox.flush(&mut left).unwrap().complete);
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(list, expected);
}

fn a_socket_that_is_full_keeps_frames_and_descriptors() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut outbox = Outbox::<16_384, 16>::new();
    let mut inbox = Inbox::<16_384>::new();
    let (mut expected, mut list, mut full) = (Vec::new(), Vec::new(), 0);
    let files = [file(), file()];
    let ids = files.each_ref().map(id_of);
    for id in 0..1_000 {
        let mut fds = Fds::new();
        let count = usize::try_from(id % 3).unwrap();
        for file in &files[..count] {
            fds.push(duplicate(file.as_fd()).unwrap()).unwrap();
        }
        let payload = vec![u8::try_from(id % 251).unwrap(); 900];
        let header = Header::new(Kind::Request, 1, id);
        while outbox.push_with(header, &[&payload], &mut fds) == Err(PushError::Full) {
            if !outbox.flush(&mut left).unwrap().complete {
                full += 1;
                let again = outbox.flush(&mut left).unwrap();
                assert_eq!((again.len, again.complete), (0, false));
                take_all(&mut inbox, &mut right, &mut list);
            }
            outbox.retire_sent();
        }
        expected.push(got(id, &payload, &ids[..count]));
    }
    while !outbox.flush(&mut left).unwrap().complete {
        take_all(&mut inbox, &mut right, &mut list);
    }
    take_all(&mut inbox, &mut right, &mut list);
    assert!(full > 0, "it never was full");
    assert_eq!(list, expected);
}

fn more_descriptors_than_announced_are_a_loss_and_closed() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut inbox = Inbox::<4096>::new();
    let null = File::open("/dev/null").unwrap();
    let before = fds::open().len();
    let mut list = Vec::new();
    left.send_with(&[&frame(1, (1, 0), b"")], &[null.as_fd(), null.as_fd()]).unwrap();
    left.send_with(&[&frame(2, (1, 1), b"")], &[null.as_fd()]).unwrap();
    left.send_with(&[&frame(3, (2, 2), b"")], &[]).unwrap();
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(list[0].lost, Some(FdsLost { expected: 1, got: 2 }));
    assert_eq!((list[1].lost, list[1].files.len()), (None, 1));
    assert_eq!(list[2].lost, Some(FdsLost { expected: 2, got: 0 }));
    assert_eq!(fds::open().len(), before);
}

fn no_descriptor_goes_to_a_neighbour_of_its_frame() {
    let (stray, own) = (file(), file());
    let before = fds::open().len();
    // A neighbour that announces none but brings one, and one that brings too many.
    let neighbours: [(u16, &[&OwnedFd], Option<FdsLost>); 2] =
        [(0, &[&stray], None), (1, &[&stray, &stray], Some(FdsLost { expected: 1, got: 2 }))];
    for (announced, brought, lost) in neighbours {
        for own_first in [false, true] {
            let (mut left, mut right) = Stream::pair().unwrap();
            let mut inbox = Inbox::<256>::new();
            let brought: Vec<BorrowedFd<'_>> = brought.iter().map(AsFd::as_fd).collect();
            let sequences = if own_first { [announced, 0] } else { [0, announced] };
            let neighbour = frame(1, (announced, u32::from(sequences[0])), b"");
            let its_own = frame(2, (1, u32::from(sequences[1])), b"");
            if own_first {
                left.send_with(&[&its_own], &[own.as_fd()]).unwrap();
            }
            left.send_with(&[&neighbour], &brought).unwrap();
            if !own_first {
                left.send_with(&[&its_own], &[own.as_fd()]).unwrap();
            }
            // Both lie in the inbox before a frame is taken.
            while inbox.receive(&mut right).unwrap().is_some() {}
            let mut list = Vec::new();
            take_all(&mut inbox, &mut right, &mut list);
            list.sort_by_key(|got| got.id);
            assert_eq!((list[0].lost, list[0].files.len()), (lost, 0));
            assert_eq!(list[1], got(2, b"", &[id_of(&own)]), "{announced} {own_first}");
            drop((left, right, inbox));
            assert_eq!(fds::open().len(), before);
        }
    }
}

fn descriptors_of_the_next_frame_do_not_stand_in_for_lost_ones() {
    let (lost, own) = (file(), file());
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut inbox = Inbox::<256>::new();
    limit_fds(64);
    let null = File::open("/dev/null").unwrap();
    left.send_with(&[&frame(1, (1, 0), b"")], &[lost.as_fd()]).unwrap();
    left.send_with(&[&frame(2, (1, 1), b"")], &[own.as_fd()]).unwrap();
    let hoard: Vec<File> = std::iter::from_fn(|| null.try_clone().ok()).collect();
    assert!(inbox.receive(&mut right).unwrap().is_some());
    drop(hoard);
    assert!(inbox.receive(&mut right).unwrap().is_some());
    let mut list = Vec::new();
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(list[0].lost, Some(FdsLost { expected: 1, got: 0 }));
    assert_eq!(list[1], got(2, b"", &[id_of(&own)]));
}

fn a_descriptor_sequence_out_of_step_is_an_error() {
    let null = File::open("/dev/null").unwrap();
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut inbox = Inbox::<256>::new();
    left.send_with(&[&frame(1, (1, 0), b"")], &[null.as_fd()]).unwrap();
    left.send_with(&[&frame(2, (1, 5), b"")], &[null.as_fd()]).unwrap();
    let before = fds::open().len();
    while inbox.receive(&mut right).unwrap().is_some() {}
    assert_eq!(inbox.advance().unwrap().unwrap().id, 1);
    let expected = InboxError::FdSequence { expected: 1, got: 5 };
    assert_eq!(inbox.advance().unwrap_err(), expected);
    inbox.reset();
    assert_eq!(fds::open().len(), before);
    left.send_with(&[&frame(3, (1, 0), b"")], &[null.as_fd()]).unwrap();
    let mut list = Vec::new();
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!((list[0].id, list[0].lost, list[0].files.len()), (3, None, 1), "begun anew");
}

fn every_socket_is_closed_on_exec_and_lies_above_the_standard_streams() {
    for fd in 0..3 {
        // SAFETY: this case uses none of the three afterwards.
        unsafe { libc::close(fd) };
    }
    let (left, right) = Stream::pair().unwrap();
    let mut low = fds::open();
    low.retain(|&fd| fd < 3);
    assert_eq!(low, []);
    for stream in [&left, &right] {
        let fd = duplicate(stream.as_fd()).unwrap();
        assert!(stream.as_fd().as_raw_fd() > 2 && fd.as_raw_fd() > 2 && is_cloexec(&fd));
        let flags = rustix::io::fcntl_getfd(stream).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
    let moved = above_stdio(File::open("/dev/zero").unwrap().into()).unwrap();
    assert!(moved.as_raw_fd() > 2 && is_cloexec(&moved));
    open_stdio().unwrap();
    low = fds::open();
    low.retain(|&fd| fd < 3);
    assert_eq!(low, [0, 1, 2]);
    // What is open already is left as it is.
    let before = id_of(std::io::stdin());
    open_stdio().unwrap();
    assert_eq!(id_of(std::io::stdin()), before);
}

fn sending_to_a_dead_peer_is_closed_and_raises_no_signal() {
    // SAFETY: no handler is installed; a SIGPIPE would end this case.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let null = File::open("/dev/null").unwrap();
    let (mut left, right) = Stream::pair().unwrap();
    drop(right);
    for _ in 0..3 {
        assert_eq!(left.send(&[b"x"]), Err(TransportError::Closed));
        assert_eq!(left.send(&[b"x", b"y"]), Err(TransportError::Closed));
        assert_eq!(left.send_with(&[b"x"], &[null.as_fd()]), Err(TransportError::Closed));
        assert_eq!(left.blocking().send(&[b"x"]), Err(TransportError::Closed));
        assert_eq!(left.blocking().send_with(&[b"x"], &[]), Err(TransportError::Closed));
    }
    let mut outbox = Outbox::<256, 4>::new();
    outbox.push(Header::new(Kind::Request, 1, 1), &[b"kept"]).unwrap();
    assert_eq!(outbox.flush(&mut left), Err(TransportError::Closed));
    assert!(outbox.has_unsent() && !outbox.has_sent(), "the frame is kept");
    let (mut left, mut right) = Stream::pair().unwrap();
    outbox.flush(&mut left).unwrap();
    let (mut inbox, mut list) = (Inbox::<256>::new(), Vec::new());
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(list, [got(1, b"kept", &[])]);
}

fn closing_the_sending_direction_leaves_the_other() {
    let (mut left, mut right) = Stream::pair().unwrap();
    left.send(&[b"bye"]).unwrap();
    left.close_sending().unwrap();
    let mut space = [0; 8];
    assert_eq!(right.receive(&mut space), Ok(Some(3)));
    assert_eq!(right.receive(&mut space), Err(TransportError::Closed));
    assert_eq!(right.send(&[b"answer"]), Ok(Some(6)));
    assert_eq!(left.receive(&mut space), Ok(Some(6)));
    assert_eq!(left.send(&[b"x"]), Err(TransportError::Closed));
}

fn a_blocking_receive_ends_at_its_time_out() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let time = Duration::from_millis(60);
    right.set_receive_timeout(time).unwrap();
    let (mut space, mut fds) = ([0; 8], Fds::new());
    for with_fds in [false, true] {
        let begin = Instant::now();
        if with_fds {
            assert_eq!(right.blocking().receive_with(&mut space, &mut fds), Ok(None));
        } else {
            assert_eq!(right.blocking().receive(&mut space), Ok(None));
        }
        let passed = Instant::now().since(begin);
        assert!(passed >= time && passed < Duration::from_secs(10), "{passed:?}");
    }
    assert_eq!(right.receive(&mut space), Ok(None), "the plain form does not wait");
    left.send(&[b"x"]).unwrap();
    assert_eq!(right.blocking().receive(&mut space), Ok(Some(1)));
}

fn repro_a_storm_of_signals_prolongs_no_blocking_receive() {
    let (mut left, mut right) = Stream::pair().unwrap();
    right.set_receive_timeout(Duration::from_millis(100)).unwrap();
    let storm = Storm::begin(Duration::from_millis(5));
    let (mut space, mut fds) = ([0; 8], Fds::new());
    for with_fds in [false, true] {
        let begin = Instant::now();
        if with_fds {
            assert_eq!(right.blocking().receive_with(&mut space, &mut fds), Ok(None));
        } else {
            assert_eq!(right.blocking().receive(&mut space), Ok(None));
        }
        let passed = Instant::now().since(begin);
        assert!(passed >= Duration::from_millis(100), "{passed:?}");
    }
    assert!(Storm::signals() > 10);
    let null = File::open("/dev/null").unwrap();
    let mut child = forked(|| {
        std::thread::sleep(Duration::from_millis(30));
        left.send_with(&[b"in time"], &[null.as_fd()]).unwrap();
    });
    right.set_receive_timeout(Duration::from_secs(20)).unwrap();
    let received = right.blocking().receive_with(&mut space, &mut fds).unwrap();
    assert_eq!(received, Some(Received { len: 7, fds_truncated: false }));
    assert_eq!(fds.len(), 1);
    end_of(&mut child);
    drop(storm);
}

fn a_blocking_receive_without_time_out_waits_through_signals() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut child = forked(|| {
        std::thread::sleep(Duration::from_millis(100));
        left.send(&[b"x"]).unwrap();
    });
    let _storm = Storm::begin(Duration::from_millis(1));
    assert_eq!(right.blocking().receive(&mut [0; 8]), Ok(Some(1)));
    end_of(&mut child);
}

fn a_blocking_send_waits_for_room() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut child = forked(|| {
        let bytes = vec![7; 1 << 20];
        let mut sent = 0;
        let _storm = Storm::begin(Duration::from_micros(300));
        while sent < bytes.len() {
            sent += left.blocking().send(&[&bytes[sent..]]).unwrap().unwrap();
        }
    });
    drop(left);
    let (mut space, mut arrived) = (vec![0; 4096], 0);
    loop {
        std::thread::sleep(Duration::from_micros(50));
        match right.blocking().receive(&mut space) {
            Ok(len) => arrived += len.unwrap(),
            Err(error) => break assert_eq!(error, TransportError::Closed),
        }
    }
    assert_eq!(arrived, 1 << 20);
    assert_eq!(end_of(&mut child), ipc_barrier::Ended::Exited(0));
}

fn frames_that_wait_keep_further_descriptors_in_the_socket() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut inbox = Inbox::<4096>::new();
    let files: Vec<OwnedFd> = (0..20).map(|_| file()).collect();
    for (index, file) in files.iter().enumerate() {
        let sequence = u32::try_from(index).unwrap();
        left.send_with(&[&frame(u64::from(sequence), (1, sequence), b"")], &[file.as_fd()])
            .unwrap();
    }
    let mut calls = 0;
    while inbox.receive(&mut right).unwrap().is_some() {
        calls += 1;
    }
    assert!(calls > 0 && calls < files.len(), "then frames must be taken: {calls}");
    let mut list = Vec::new();
    take(&mut inbox, &mut list);
    take_all(&mut inbox, &mut right, &mut list);
    let arrived: Vec<u64> = list.iter().flat_map(|got| got.files.iter().copied()).collect();
    assert_eq!(arrived, files.iter().map(id_of).collect::<Vec<u64>>());
}

/// More than there is room for, by a caller that did not ask first.
fn repro_descriptors_without_room_are_closed_and_go_to_no_other_frame() {
    let mut inbox = Inbox::<4096>::new();
    let before = fds::open().len();
    let mut ids = Vec::new();
    let mut fill = |inbox: &mut Inbox<4096>| {
        let file = file();
        let sequence = u32::try_from(ids.len()).unwrap();
        let bytes = frame(u64::from(sequence), (1, sequence), b"");
        inbox.space()[..bytes.len()].copy_from_slice(&bytes);
        ids.push(id_of(&file));
        inbox.filled(bytes.len(), [file]);
        ids.len()
    };
    let mut room = 0;
    while inbox.takes_fds() {
        room = fill(&mut inbox);
    }
    fill(&mut inbox);
    assert_eq!(inbox.advance().unwrap().unwrap().id, 0);
    fill(&mut inbox);
    let mut list = Vec::new();
    take(&mut inbox, &mut list);
    for (index, got) in list.iter().enumerate() {
        let index = index + 1;
        if index == room {
            assert_eq!(got.lost, Some(FdsLost { expected: 1, got: 0 }));
        } else {
            assert_eq!((got.lost, &got.files[..]), (None, &ids[index..=index]), "{index}");
        }
    }
    assert_eq!(list.len(), room + 1);
    assert_eq!(fds::open().len(), before);
}

/// More descriptors than a message carries, given to a frame written in place.
fn repro_a_reply_with_too_many_descriptors_does_not_stop_the_outbox() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut outbox = Outbox::<4096, 32>::new();
    let before = fds::open().len();
    let null = File::open("/dev/null").unwrap();
    let mut fds: FixedVec<OwnedFd, 255> = FixedVec::new();
    while fds.len() < 255 {
        fds.push(duplicate(null.as_fd()).unwrap()).unwrap();
    }
    let header = Header::new(Kind::Reply, 0, 1);
    outbox.reserve(4, 253).unwrap().commit(header, 4, &mut fds);
    assert_eq!(outbox.reserve(4, 4).err(), Some(PushError::Full), "253 of 256 are held");
    outbox.push(Header::new(Kind::Reply, 0, 2), &[]).unwrap();
    assert!(outbox.flush(&mut left).unwrap().complete);
    let (mut inbox, mut list) = (Inbox::<4096>::new(), Vec::new());
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(list.len(), 2);
    assert_eq!((list[0].lost, list[0].files.len()), (None, 253), "as many as were reserved");
    outbox.retire_sent();
    drop((null, inbox));
    assert_eq!(fds::open().len(), before);
}

fn an_outbox_gives_back_what_it_has_no_room_for() {
    let mut outbox = Outbox::<256, 2>::new();
    let null = File::open("/dev/null").unwrap();
    let header = Header::new(Kind::Request, 1, 1);
    let mut list = Fds::new();
    list.push(duplicate(null.as_fd()).unwrap()).unwrap();
    let refused = outbox.push_with(header, &[&[0; 300]], &mut list).unwrap_err();
    assert_eq!(refused, PushError::TooLong { len: 300, capacity: 232 });
    assert_eq!(list.len(), 1, "the list is untouched");
    outbox.push(header, &[]).unwrap();
    outbox.push(header, &[]).unwrap();
    assert_eq!(outbox.push_with(header, &[], &mut list), Err(PushError::Full));
    assert_eq!(list.len(), 1);
}

fn frames_go_out_again_with_their_descriptors_until_they_are_retired() {
    let mut outbox = Outbox::<1024, 8>::new();
    let before = fds::open().len();
    let (first, second) = (file(), file());
    let ids = [id_of(&first), id_of(&second)];
    let header = |id| Header::new(Kind::Request, 1, id);
    let mut fds = Fds::new();
    fds.push(first).unwrap();
    let retired = outbox.push_with(header(1), &[b"one"], &mut fds).unwrap();
    fds.push(second).unwrap();
    outbox.push_with(header(2), &[b"two"], &mut fds).unwrap();
    for round in 0..3 {
        let (mut left, mut right) = Stream::pair().unwrap();
        outbox.flush(&mut left).unwrap();
        let (mut inbox, mut list) = (Inbox::<1024>::new(), Vec::new());
        take_all(&mut inbox, &mut right, &mut list);
        let all = [got(1, b"one", &ids[..1]), got(2, b"two", &ids[1..])];
        assert_eq!(list, all[usize::from(round > 0)..]);
        outbox.retire(retired);
        outbox.rewind();
    }
    assert_eq!(fds::open().len(), before + 1, "only what is not retired is held");
    drop(outbox);
    assert_eq!(fds::open().len(), before);
}

fn an_inbox_closes_what_it_holds() {
    let null = File::open("/dev/null").unwrap();
    let before = fds::open().len();
    for by_reset in [true, false] {
        let (mut left, mut right) = Stream::pair().unwrap();
        let mut inbox = Inbox::<256>::new();
        left.send_with(&[&frame(1, (2, 0), b"")], &[null.as_fd(); 2]).unwrap();
        left.send_with(&[&frame(2, (3, 2), b"half")[..26]], &[null.as_fd(); 3]).unwrap();
        while inbox.receive(&mut right).unwrap().is_some() {}
        assert_eq!(inbox.advance().unwrap().unwrap().id, 1);
        assert_eq!(fds::open().len(), before + 7);
        let kept = inbox.current().fds.pop_front().unwrap();
        assert_eq!(inbox.advance().unwrap(), None);
        assert_eq!(fds::open().len(), before + 6, "what was left of the first is closed");
        if by_reset {
            inbox.reset();
            assert_eq!(fds::open().len(), before + 3);
        }
        drop((left, right, inbox));
        assert_eq!(fds::open().len(), before + 1);
        drop(kept);
    }
}

fn a_wait_lasts_until_its_deadline_and_sees_what_is_ready() {
    let (mut left, right) = Stream::pair().unwrap();
    let _storm = Storm::begin(Duration::from_micros(200));
    let deadline = Instant::now() + Duration::from_millis(60);
    let mut watched = [Watched::new(right.as_fd(), Interest::Input)];
    assert_eq!(wait(&mut watched, Some(deadline)), Ok(false));
    assert!(Instant::now() >= deadline);
    assert!(!watched[0].is_ready());
    left.send(&[b"x"]).unwrap();
    let mut watched = [
        Watched::new(right.as_fd(), Interest::Both),
        Watched::new(left.as_fd(), Interest::Input),
        Watched::new(left.as_fd(), Interest::End),
    ];
    assert_eq!(wait(&mut watched, Some(soon())), Ok(true));
    assert!(watched[0].is_readable() && !watched[0].is_over() && !watched[0].is_broken());
    assert!(!watched[1].is_ready() && !watched[2].is_ready());
    let fd = duplicate(left.as_fd()).unwrap();
    drop((left, fd));
    let mut watched = [Watched::new(right.as_fd(), Interest::End)];
    assert_eq!(wait(&mut watched, None), Ok(true));
    assert!(watched[0].is_over());
    let many = || Watched::new(right.as_fd(), Interest::End);
    let mut nine = [(); 9].map(|()| many());
    assert_eq!(wait(&mut nine, Some(soon())).unwrap_err().errno.0, libc::EINVAL);
    assert_eq!(wait(&mut [], Some(Instant::from_nanoseconds(1))), Ok(false));
}

fn spinning_changes_no_answer() {
    let patience = Patience { spin: Duration::from_millis(5) };
    let (mut left, mut right) = Stream::pair().unwrap();
    right.set_receive_timeout(Duration::from_millis(20)).unwrap();
    let mut space = [0; 16];
    let start = Instant::now();
    assert_eq!(right.blocking().with(patience).receive(&mut space), Ok(None));
    assert!(Instant::now().since(start) >= Duration::from_millis(19));
    let null = File::open("/dev/null").unwrap();
    left.send_with(&[b"word"], &[null.as_fd()]).unwrap();
    let mut fds = Fds::new();
    let received = right.blocking().with(patience).receive_with(&mut space, &mut fds);
    assert_eq!(received, Ok(Some(Received { len: 4, fds_truncated: false })));
    assert_eq!(fds.len(), 1);
    let mut waiter = Waiter::new(patience);
    let watch = |waiter: &mut Waiter, deadline| {
        let mut watched = [Watched::new(right.as_fd(), Interest::Input)];
        (waiter.wait(&mut watched, deadline), watched[0].is_readable(), watched[0].is_over())
    };
    for spin in [Duration::ZERO, Duration::from_millis(5), Duration::from_secs(100)] {
        waiter = Waiter::new(Patience { spin });
        let start = Instant::now();
        let deadline = start + Duration::from_millis(20);
        assert_eq!(watch(&mut waiter, Some(deadline)), (Ok(false), false, false));
        assert!(Instant::now() >= deadline && Instant::now().since(start).as_secs() < 10);
        let past = Some(Instant::from_nanoseconds(0));
        assert_eq!(watch(&mut waiter, past), (Ok(false), false, false));
    }
    left.send(&[b"x"]).unwrap();
    assert_eq!(watch(&mut waiter, None), (Ok(true), true, false));
    drop(left);
    assert_eq!(watch(&mut waiter, Some(soon())), (Ok(true), true, true));
    assert_eq!(right.blocking().with(patience).receive(&mut space), Ok(Some(1)));
    let end = right.blocking().with(patience).receive(&mut space);
    assert_eq!(end, Err(TransportError::Closed));
}

fn nobody_spins_with_one_cpu() {
    let all = rustix::thread::sched_getaffinity(None).unwrap();
    let expected = if all.count() > 1 { Patience::SPIN } else { Patience::SLEEP };
    assert_eq!(Patience::SPIN.where_parallel(), expected);
    let first = (0..1_024).find(|&cpu| all.is_set(cpu)).unwrap();
    let mut one = rustix::thread::CpuSet::new();
    one.set(first);
    rustix::thread::sched_setaffinity(None, &one).unwrap();
    assert_eq!(Patience::SPIN.where_parallel(), Patience::SLEEP);
}

fn interruptions_are_counted() {
    let (_left, mut right) = Stream::pair().unwrap();
    right.set_receive_timeout(Duration::from_millis(30)).unwrap();
    let mut waiter = Waiter::new(Patience::SLEEP);
    let _storm = Storm::begin(Duration::from_millis(2));
    let mut watched = [Watched::new(right.as_fd(), Interest::Input)];
    let deadline = Instant::now() + Duration::from_millis(40);
    assert_eq!(waiter.wait(&mut watched, Some(deadline)), Ok(false));
    assert!(waiter.interruptions() > 0);
    assert_eq!(right.interruptions(), 0);
    assert_eq!(right.blocking().receive(&mut [0; 8]), Ok(None));
    assert!(right.interruptions() > 0);
}

fn too_many_descriptors_in_flight_keep_the_frame_until_receivers_catch_up() {
    // The limit is that of open descriptors, counted for each user, and not for root.
    // SAFETY: no memory is involved.
    let result = unsafe { libc::setuid(4_000_123) };
    if result != 0 && rustix::process::geteuid().is_root() {
        skip("a user without privileges", "a user namespace with more than root in it");
    }
    limit_fds(32);
    let null = File::open("/dev/null").unwrap();
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut inbox = Inbox::<256>::new();
    let mut sequence = 0;
    loop {
        let full = left.send_with(&[&frame(1, (20, sequence), b"")], &[null.as_fd(); 20]);
        if full == Err(TransportError::TooManyInFlight) {
            break;
        }
        full.unwrap();
        sequence += 20;
        assert!(sequence < 10_000, "there is no limit");
    }
    assert_eq!(left.send(&[b""]), Ok(None), "bytes alone may pass, these are none");
    let mut outbox = Outbox::<256, 4>::new();
    let mut own = Fds::new();
    own.push(duplicate(null.as_fd()).unwrap()).unwrap();
    outbox.push_with(Header::new(Kind::Request, 1, 2), &[b"kept"], &mut own).unwrap();
    assert_eq!(outbox.flush(&mut left), Err(TransportError::TooManyInFlight));
    let mut list = Vec::new();
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(list.len(), usize::try_from(sequence / 20).unwrap());
    inbox.reset();
    assert!(outbox.flush(&mut left).unwrap().complete);
    list.clear();
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!((list[0].payload.as_slice(), list[0].files.len()), (&b"kept"[..], 1));
}

fn a_receiver_that_refuses_descriptors_is_told_from_one_that_is_gone() {
    const SO_PASSRIGHTS: libc::c_int = 83;
    let null = File::open("/dev/null").unwrap();
    let (mut left, mut right) = Stream::pair().unwrap();
    let (off, len) = (0_i32, libc::socklen_t::try_from(size_of::<i32>()).unwrap());
    let fd = right.as_fd().as_raw_fd();
    let value = (&raw const off).cast();
    // SAFETY: the kernel reads the value, which lives beyond the call, and its length is right.
    let result = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, SO_PASSRIGHTS, value, len) };
    if result != 0 {
        skip("SO_PASSRIGHTS", "a kernel of version 6.16 or later");
    }
    let refused = left.send_with(&[b"x"], &[null.as_fd()]);
    assert_eq!(refused, Err(TransportError::FdsRefused));
    assert_eq!(left.send(&[b"bytes pass"]), Ok(Some(10)));
    assert_eq!(right.receive(&mut [0; 16]), Ok(Some(10)));
}

const _: () = assert!(MAX_FDS == 253);

cases! {
    a_loopback_takes_as_many_bytes_as_fit,
    repro_empty_pieces_hide_none_that_come_after,
    more_pieces_than_one_call_takes_go_out_in_order,
    descriptors_reach_their_frames_in_batches,
    short_writes_and_full_sockets_keep_frames_and_descriptors,
    a_socket_that_is_full_keeps_frames_and_descriptors,
    more_descriptors_than_announced_are_a_loss_and_closed,
    no_descriptor_goes_to_a_neighbour_of_its_frame,
    descriptors_of_the_next_frame_do_not_stand_in_for_lost_ones,
    a_descriptor_sequence_out_of_step_is_an_error,
    every_socket_is_closed_on_exec_and_lies_above_the_standard_streams,
    sending_to_a_dead_peer_is_closed_and_raises_no_signal,
    closing_the_sending_direction_leaves_the_other,
    a_blocking_receive_ends_at_its_time_out,
    repro_a_storm_of_signals_prolongs_no_blocking_receive,
    a_blocking_receive_without_time_out_waits_through_signals,
    a_blocking_send_waits_for_room,
    frames_that_wait_keep_further_descriptors_in_the_socket,
    repro_descriptors_without_room_are_closed_and_go_to_no_other_frame,
    repro_a_reply_with_too_many_descriptors_does_not_stop_the_outbox,
    an_outbox_gives_back_what_it_has_no_room_for,
    frames_go_out_again_with_their_descriptors_until_they_are_retired,
    an_inbox_closes_what_it_holds,
    a_wait_lasts_until_its_deadline_and_sees_what_is_ready,
    spinning_changes_no_answer,
    nobody_spins_with_one_cpu,
    interruptions_are_counted,
    too_many_descriptors_in_flight_keep_the_frame_until_receivers_catch_up,
    a_receiver_that_refuses_descriptors_is_told_from_one_that_is_gone,
}
