//! Frames that leave an outbox without a transport.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipc_frame::{FrameNumber, Header, PushError};
use ipc_tests::fds::{self, Fds, file, id_of};
use ipc_transport::{
    FdList, Inbox, Outbox, PassFds, Received, Stream, Transport, TransportError, duplicate,
};

use crate::arrivals::{got, take_all};

fn push<const BYTES: usize, const FRAMES: usize>(
    outbox: &mut Outbox<BYTES, FRAMES>,
    id: u64,
    fd: OwnedFd,
) -> FrameNumber {
    let mut list = FdList::<1>::new();
    list.fds().push(fd).unwrap();
    outbox.push_with(Header::request(1, id), &[b"payload"], &mut list.fds()).unwrap()
}

/// A transport that returns zero instead of "would block".
struct Zero {
    calls: usize,
}

impl Transport for Zero {
    fn send(&mut self, _: &[&[u8]]) -> Result<Option<usize>, TransportError> {
        self.calls += 1;
        Ok(Some(0).filter(|_| self.calls < 1000))
    }

    fn receive(&mut self, _: &mut [u8]) -> Result<Option<usize>, TransportError> {
        Ok(None)
    }
}

impl PassFds for Zero {
    fn send_with(
        &mut self,
        pieces: &[&[u8]],
        _: &[BorrowedFd<'_>],
    ) -> Result<Option<usize>, TransportError> {
        self.send(pieces)
    }

    fn receive_with(
        &mut self,
        _: &mut [u8],
        _: &mut ipc_transport::Fds<'_>,
    ) -> Result<Option<Received>, TransportError> {
        Ok(None)
    }
}

pub(crate) fn repro_a_transport_that_takes_nothing_is_not_asked_for_ever() {
    let mut outbox = Outbox::<256, 2>::new();
    outbox.push(Header::one_way(0, 0), &[b"x"]).unwrap();
    let mut zero = Zero { calls: 0 };
    assert!(!outbox.flush(&mut zero).unwrap().complete);
    assert!(!outbox.flush_with(&mut zero).unwrap().complete);
    assert_eq!(zero.calls, 2);
}

pub(crate) fn a_frame_with_descriptors_does_not_go_without_them() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut outbox = Outbox::<1024, 8>::new();
    outbox.push(Header::request(1, 1), &[]).unwrap();
    let own = file();
    let id = id_of(&own);
    let number = push(&mut outbox, 2, own);
    let refused = Err(TransportError::CannotPassFds { count: 1 });
    assert_eq!(outbox.flush(&mut left), refused);
    assert_eq!(outbox.flush(&mut left), refused, "it stays queued");
    assert!(!outbox.is_begun(number));
    assert!(outbox.flush_with(&mut left).unwrap().complete);
    let (mut inbox, mut list) = (Inbox::<1024>::new(), Vec::new());
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(list, [got(1, b"", &[]), got(2, b"payload", &[id])]);
}

pub(crate) fn a_frame_handed_over_is_sent_and_its_descriptors_are_gone() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut outbox = Outbox::<1024, 8>::new();
    let before = fds::open().len();
    let numbers = [push(&mut outbox, 1, file()), push(&mut outbox, 2, file())];
    assert_eq!(outbox.next_unsent().unwrap().0, numbers[0]);
    let handed = outbox.hand_over(|header, payload, mut fds| {
        assert_eq!((header.id(), payload, fds.len()), (1, &b"payload"[..], 1));
        fds.take_first()
    });
    assert!(handed.unwrap().is_some());
    outbox.hand_over(|header, _, _| assert_eq!(header.id(), 2));
    assert!(outbox.hand_over(|_, _, _| ()).is_none());
    assert!(outbox.is_sent(numbers[0]) && !outbox.has_unsent());
    assert_eq!(fds::open().len(), before, "descriptors that were left are closed");
    assert_eq!(outbox.frame(numbers[0]).unwrap().payload(), b"payload", "until it is retired");
    // Sent again, the frame would announce descriptors that it no longer owns.
    outbox.rewind();
    let gone = Err(TransportError::FdsGone { expected: 1, held: 0 });
    assert_eq!(outbox.flush_with(&mut left), gone);
    outbox.withdraw(numbers[0]);
    outbox.retire(numbers[1]);
    outbox.push(Header::request(1, 3), &[]).unwrap();
    assert!(outbox.flush_with(&mut left).unwrap().complete);
    let (mut inbox, mut list) = (Inbox::<1024>::new(), Vec::new());
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(list, [got(3, b"", &[])]);
}

pub(crate) fn a_frame_withdrawn_keeps_its_descriptors_for_its_caller() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut outbox = Outbox::<1024, 8>::new();
    let files = [file(), file()];
    let ids = files.each_ref().map(id_of);
    let numbers: Vec<FrameNumber> =
        files.into_iter().zip(0..).map(|(fd, id)| push(&mut outbox, id, fd)).collect();
    outbox.withdraw(numbers[0]);
    assert!(outbox.flush_with(&mut left).unwrap().complete);
    outbox.retire_sent();
    let (mut inbox, mut list) = (Inbox::<1024>::new(), Vec::new());
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(list, [got(1, b"payload", &ids[1..])]);
    assert_eq!((outbox.first(), outbox.id(numbers[0])), (Some(numbers[0]), Some(0)));
    assert_eq!(outbox.next_after(numbers[0]), None);
    let mut back = Fds::new();
    outbox.take_fds_of_withdrawn(numbers[0], &mut back.fds());
    assert_eq!(back.iter().map(id_of).collect::<Vec<_>>(), ids[..1]);
    let frame = outbox.frame(numbers[0]).unwrap();
    let (header, payload) = (frame.header(), frame.payload());
    assert_eq!((header.id(), header.fd_count(), payload), (0, 1, &b"payload"[..]));
    outbox.retire(numbers[0]);
    assert!(outbox.frame(numbers[0]).is_none() && outbox.has_room_for(0, 253));
}

pub(crate) fn repro_an_old_number_names_no_later_frame() {
    let mut outbox = Outbox::<1024, 8>::new();
    let before = fds::open().len();
    let old = push(&mut outbox, 1, file());
    outbox.clear();
    assert_eq!(fds::open().len(), before);
    push(&mut outbox, 2, file());
    outbox.withdraw(old);
    outbox.retire(old);
    assert!(outbox.frame(old).is_none() && outbox.has_unsent());
    assert_eq!(fds::open().len(), before + 1);
}

pub(crate) fn a_room_that_is_dropped_or_leaked_leaves_no_descriptor() {
    let null = File::open("/dev/null").unwrap();
    let mut outbox = Outbox::<1024, 8>::new();
    let before = fds::open().len();
    for leaks in [false, true] {
        let mut room = outbox.reserve(8, 2).unwrap();
        room.payload().fill(7);
        let mut fds = room.fds();
        while fds.push(duplicate(null.as_fd()).unwrap()).is_ok() {}
        assert_eq!(fds.len(), 2, "as many as reserved");
        if leaks {
            std::mem::forget(room);
        } else {
            drop(room);
            assert_eq!(fds::open().len(), before);
        }
    }
    let own = file();
    let id = id_of(&own);
    let number = push(&mut outbox, 1, own);
    assert_eq!(fds::open().len(), before + 1, "leaked descriptors are closed");
    let (mut left, mut right) = Stream::pair().unwrap();
    assert!(outbox.flush_with(&mut left).unwrap().complete);
    let (mut inbox, mut list) = (Inbox::<1024>::new(), Vec::new());
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(list, [got(1, b"payload", &[id])]);
    outbox.retire(number);
    let mut room = outbox.reserve(0, 1).unwrap();
    room.fds().push(duplicate(null.as_fd()).unwrap()).unwrap();
    let refused = room.commit(Header::refusal(1), 0);
    assert!(matches!(refused, Err(PushError::TooManyFds { limit: 0, .. })));
    drop((left, right));
    assert_eq!(fds::open().len(), before);
}
