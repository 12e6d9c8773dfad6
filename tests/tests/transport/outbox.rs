//! Frames and descriptors that are queued, sent again or given back.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use ipc_frame::{Header, PushError};
use ipc_tests::cases::skip;
use ipc_tests::fds::{self, Fds, file, id_of};
use ipc_tests::wire::frame;
use ipc_transport::{
    Inbox, Outbox, PassFds, Received, Stream, Transport, TransportError, duplicate,
};

use crate::arrivals::{got, take_all};

/// A transport with a list of short writes.
struct Short<'a> {
    inner: &'a mut Stream,
    /// The most bytes that each of the next calls takes; `None` would block.
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
        fds: &mut ipc_transport::Fds<'_>,
    ) -> Result<Option<Received>, TransportError> {
        self.inner.receive_with(space, fds)
    }
}

pub(crate) fn descriptors_reach_their_frames_in_batches() {
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
                fds.fds().push(file()).unwrap();
            }
            let files: Vec<u64> = fds.iter().map(id_of).collect();
            let payload = vec![u8::try_from(index).unwrap(); index * 5];
            let header = Header::request(1, sequence);
            outbox.push_with(header, &[&payload], &mut fds.fds()).unwrap();
            expected.push(got(sequence, &payload, &files));
            sequence += 1;
        }
        assert!(outbox.flush_with(&mut left).unwrap().complete);
        let mut list = Vec::new();
        take_all(&mut inbox, &mut right, &mut list);
        assert_eq!(list, expected);
        outbox.retire_sent();
        assert_eq!(fds::open().len(), before, "all copies are closed");
    }
}

pub(crate) fn short_writes_and_full_sockets_keep_frames_and_descriptors() {
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
            fds.fds().push(file()).unwrap();
        }
        let payload = vec![u8::try_from(id % 251).unwrap(); random(150)];
        let files: Vec<u64> = fds.iter().map(id_of).collect();
        let header = Header::request(1, id);
        while outbox.push_with(header, &[&payload], &mut fds.fds()).is_err() {
            let lens = (0..4).map(|_| Some(random(60)).filter(|&len| len > 3)).collect();
            outbox.flush_with(&mut Short { inner: &mut left, lens }).unwrap();
            outbox.retire_sent();
            take_all(&mut inbox, &mut right, &mut list);
        }
        assert!(fds.is_empty());
        expected.push(got(id, &payload, &files));
    }
    assert!(outbox.flush_with(&mut left).unwrap().complete);
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(list, expected);
}

pub(crate) fn a_socket_that_is_full_keeps_frames_and_descriptors() {
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
            fds.fds().push(duplicate(file.as_fd()).unwrap()).unwrap();
        }
        let payload = vec![u8::try_from(id % 251).unwrap(); 900];
        let header = Header::request(1, id);
        while outbox.push_with(header, &[&payload], &mut fds.fds()) == Err(PushError::Full) {
            if !outbox.flush_with(&mut left).unwrap().complete {
                full += 1;
                let again = outbox.flush_with(&mut left).unwrap();
                assert_eq!((again.len, again.complete), (0, false));
                take_all(&mut inbox, &mut right, &mut list);
            }
            outbox.retire_sent();
        }
        expected.push(got(id, &payload, &ids[..count]));
    }
    while !outbox.flush_with(&mut left).unwrap().complete {
        take_all(&mut inbox, &mut right, &mut list);
    }
    take_all(&mut inbox, &mut right, &mut list);
    assert!(full > 0, "it was never full");
    assert_eq!(list, expected);
}

/// More descriptors than a message carries, given to a frame written in place.
pub(crate) fn repro_a_reply_with_too_many_descriptors_does_not_stop_the_outbox() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut outbox = Outbox::<4096, 32>::new();
    let before = fds::open().len();
    let null = File::open("/dev/null").unwrap();
    let header = Header::reply(1);
    let mut room = outbox.reserve(4, 253).unwrap();
    while room.fds().push(duplicate(null.as_fd()).unwrap()).is_ok() {}
    room.commit(header, 4).unwrap();
    assert_eq!(outbox.reserve(4, 1).err(), Some(PushError::Full), "253 of 253 are held");
    outbox.push(Header::reply(2), &[]).unwrap();
    assert!(outbox.flush_with(&mut left).unwrap().complete);
    let (mut inbox, mut list) = (Inbox::<4096>::new(), Vec::new());
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(list.len(), 2);
    assert_eq!((list[0].lost, list[0].files.len()), (None, 253), "as many as reserved");
    outbox.retire_sent();
    drop((null, inbox));
    assert_eq!(fds::open().len(), before);
}

pub(crate) fn an_outbox_gives_back_what_it_has_no_room_for() {
    let mut outbox = Outbox::<256, 2>::new();
    let null = File::open("/dev/null").unwrap();
    let header = Header::request(1, 1);
    let mut list = Fds::new();
    list.fds().push(duplicate(null.as_fd()).unwrap()).unwrap();
    let refused = outbox.push_with(header, &[&[0; 300]], &mut list.fds()).unwrap_err();
    assert_eq!(refused, PushError::TooLong { len: 300, capacity: 232 });
    assert_eq!(list.len(), 1, "the list is unchanged");
    outbox.push(header, &[]).unwrap();
    outbox.push(header, &[]).unwrap();
    assert_eq!(outbox.push_with(header, &[], &mut list.fds()), Err(PushError::Full));
    assert_eq!(list.len(), 1);
}

pub(crate) fn frames_go_out_again_with_their_descriptors_until_they_are_retired() {
    let mut outbox = Outbox::<1024, 8>::new();
    let before = fds::open().len();
    let (first, second) = (file(), file());
    let ids = [id_of(&first), id_of(&second)];
    let header = |id| Header::request(1, id);
    let mut fds = Fds::new();
    fds.fds().push(first).unwrap();
    let retired = outbox.push_with(header(1), &[b"one"], &mut fds.fds()).unwrap();
    fds.fds().push(second).unwrap();
    outbox.push_with(header(2), &[b"two"], &mut fds.fds()).unwrap();
    for round in 0..3 {
        let (mut left, mut right) = Stream::pair().unwrap();
        outbox.flush_with(&mut left).unwrap();
        let (mut inbox, mut list) = (Inbox::<1024>::new(), Vec::new());
        take_all(&mut inbox, &mut right, &mut list);
        let all = [got(1, b"one", &ids[..1]), got(2, b"two", &ids[1..])];
        assert_eq!(list, all[usize::from(round > 0)..]);
        outbox.retire(retired);
        outbox.rewind();
    }
    assert_eq!(fds::open().len(), before + 1, "only the descriptors of the other frame are held");
    drop(outbox);
    assert_eq!(fds::open().len(), before);
}

/// Takes a user id that no other case uses, since the limit on descriptors in flight is each user's
/// RLIMIT_NOFILE and does not apply to root.
pub(crate) fn become_user(id: libc::uid_t) {
    // SAFETY: no memory is involved.
    let result = unsafe { libc::setuid(id) };
    if result != 0 && rustix::process::geteuid().is_root() {
        skip("a user without privileges", "a user namespace with more than root in it");
    }
}

pub(crate) fn too_many_descriptors_in_flight_keep_the_frame_until_receivers_catch_up() {
    become_user(4_000_123);
    fds::limit(32);
    let null = File::open("/dev/null").unwrap();
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut inbox = Inbox::<256>::new();
    let mut sequence = 0;
    loop {
        let full = left.send_with(&[&frame(1, (20, sequence), b"")], &[null.as_fd(); 20]);
        if let Err(TransportError::Exhausted(error)) = full {
            assert_eq!(error.errno.0, libc::ETOOMANYREFS);
            break;
        }
        full.unwrap();
        sequence += 20;
        assert!(sequence < 10_000, "there is no limit");
    }
    assert_eq!(left.send(&[b""]), Ok(None), "an empty send sends nothing");
    let mut outbox = Outbox::<256, 4>::new();
    let mut own = Fds::new();
    own.fds().push(duplicate(null.as_fd()).unwrap()).unwrap();
    outbox.push_with(Header::request(1, 2), &[b"kept"], &mut own.fds()).unwrap();
    assert!(matches!(outbox.flush_with(&mut left), Err(TransportError::Exhausted(_))));
    let mut list = Vec::new();
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(list.len(), usize::try_from(sequence / 20).unwrap());
    inbox.reset();
    assert!(outbox.flush_with(&mut left).unwrap().complete);
    list.clear();
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!((list[0].payload.as_slice(), list[0].files.len()), (&b"kept"[..], 1));
}
