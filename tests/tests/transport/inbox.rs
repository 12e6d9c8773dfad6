//! Which frame, if any, a descriptor belongs to.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipc_tests::fds::{self, Fds, file, id_of};
use ipc_tests::wire::frame;
use ipc_transport::{FdsLost, Inbox, InboxError, PassFds, Stream};

use crate::arrivals::{got, take, take_all};

pub(crate) fn more_descriptors_than_announced_are_a_loss_and_closed() {
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

pub(crate) fn no_descriptor_goes_to_a_neighbour_of_its_frame() {
    let (stray, own) = (file(), file());
    let before = fds::open().len();
    // A neighbour that announces no descriptors but brings one, and a neighbour that brings too
    // many.
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

pub(crate) fn descriptors_of_the_next_frame_do_not_stand_in_for_lost_ones() {
    let (lost, own) = (file(), file());
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut inbox = Inbox::<256>::new();
    fds::limit(64);
    let null = File::open("/dev/null").unwrap();
    left.send_with(&[&frame(1, (1, 0), b"")], &[lost.as_fd()]).unwrap();
    left.send_with(&[&frame(2, (1, 1), b"")], &[own.as_fd()]).unwrap();
    let hoard: Vec<File> = std::iter::from_fn(|| null.try_clone().ok()).collect();
    assert!(fds::receive(&mut inbox, &mut right).unwrap().is_some());
    drop(hoard);
    assert!(fds::receive(&mut inbox, &mut right).unwrap().is_some());
    let mut list = Vec::new();
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(list[0].lost, Some(FdsLost { expected: 1, got: 0 }));
    assert_eq!(list[1], got(2, b"", &[id_of(&own)]));
}

pub(crate) fn a_descriptor_sequence_out_of_step_is_an_error() {
    let null = File::open("/dev/null").unwrap();
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut inbox = Inbox::<256>::new();
    left.send_with(&[&frame(1, (1, 0), b"")], &[null.as_fd()]).unwrap();
    left.send_with(&[&frame(2, (1, 5), b"")], &[null.as_fd()]).unwrap();
    let before = fds::open().len();
    assert!(fds::receive(&mut inbox, &mut right).unwrap().is_some());
    assert_eq!(inbox.advance().unwrap().unwrap().id(), 1);
    assert!(fds::receive(&mut inbox, &mut right).unwrap().is_some());
    let expected = InboxError::FdSequence { expected: 1, got: 5 };
    assert_eq!(inbox.advance().unwrap_err(), expected);
    inbox.reset();
    assert_eq!(fds::open().len(), before);
    left.send_with(&[&frame(3, (1, 0), b"")], &[null.as_fd()]).unwrap();
    let mut list = Vec::new();
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(
        (list[0].id, list[0].lost, list[0].files.len()),
        (3, None, 1),
        "the inbox starts again"
    );
}

pub(crate) fn frames_that_wait_keep_further_descriptors_in_the_socket() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut inbox = Inbox::<4096>::new();
    let files: Vec<OwnedFd> = (0..20).map(|_| file()).collect();
    for (index, file) in files.iter().enumerate() {
        let sequence = u32::try_from(index).unwrap();
        left.send_with(&[&frame(u64::from(sequence), (1, sequence), b"")], &[file.as_fd()])
            .unwrap();
    }
    let mut calls = 0;
    while fds::receive(&mut inbox, &mut right).unwrap().is_some() {
        calls += 1;
    }
    assert!(calls > 0 && calls < files.len(), "then frames must be taken: {calls}");
    let mut list = Vec::new();
    take(&mut inbox, &mut list);
    take_all(&mut inbox, &mut right, &mut list);
    let arrived: Vec<u64> = list.iter().flat_map(|got| got.files.iter().copied()).collect();
    assert_eq!(arrived, files.iter().map(id_of).collect::<Vec<u64>>());
}

/// A caller adds more descriptors than fit, without checking for room.
pub(crate) fn repro_descriptors_without_room_are_closed_and_go_to_no_other_frame() {
    let mut inbox = Inbox::<4096>::new();
    let before = fds::open().len();
    let mut ids = Vec::new();
    let mut fill = |inbox: &mut Inbox<4096>| {
        let file = file();
        let sequence = u32::try_from(ids.len()).unwrap();
        let bytes = frame(u64::from(sequence), (1, sequence), b"");
        inbox.space()[..bytes.len()].copy_from_slice(&bytes);
        ids.push(id_of(&file));
        let mut list = Fds::new();
        list.fds().push(file).unwrap();
        inbox.filled(bytes.len(), &mut list.fds());
        ids.len()
    };
    let mut room = 0;
    while inbox.takes_fds() {
        room = fill(&mut inbox);
    }
    fill(&mut inbox);
    assert_eq!(inbox.advance().unwrap().unwrap().id(), 0);
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

pub(crate) fn an_inbox_closes_what_it_holds() {
    let null = File::open("/dev/null").unwrap();
    let before = fds::open().len();
    for by_reset in [true, false] {
        let (mut left, mut right) = Stream::pair().unwrap();
        let mut inbox = Inbox::<256>::new();
        left.send_with(&[&frame(1, (2, 0), b"")], &[null.as_fd(); 2]).unwrap();
        left.send_with(&[&frame(2, (3, 2), b"half")[..26]], &[null.as_fd(); 3]).unwrap();
        assert!(fds::receive(&mut inbox, &mut right).unwrap().is_some());
        assert_eq!(inbox.advance().unwrap().unwrap().id(), 1);
        assert!(fds::receive(&mut inbox, &mut right).unwrap().is_some());
        assert_eq!(fds::open().len(), before + 7);
        let kept = inbox.current().fds.take_first().unwrap();
        assert_eq!(inbox.advance().unwrap(), None);
        assert_eq!(
            fds::open().len(),
            before + 6,
            "the rest of the first frame's descriptors is closed"
        );
        if by_reset {
            inbox.reset();
            assert_eq!(fds::open().len(), before + 3);
        }
        drop((left, right, inbox));
        assert_eq!(fds::open().len(), before + 1);
        drop(kept);
    }
}
