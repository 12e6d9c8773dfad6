//! Limits: how many descriptors a peer can make a receiver hold, and what an outbox refuses.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use ipc_frame::{Header, PushError};
use ipc_tests::fds::{self, Fds, file, id_of};
use ipc_tests::wire::frame;
use ipc_transport::{
    Arrived, FdList, FdsLost, Inbox, InboxError, Outbox, PassFds, Seqpacket, Stream, Transport,
    duplicate,
};

use crate::arrivals::{got, take, take_all};

const SO_PASSCRED: i32 = 16;
const SO_PASSPIDFD: i32 = 76;

fn null() -> File {
    File::open("/dev/null").unwrap()
}

/// A peer that sends 253 descriptors at a time, with and without frames, and within a header.
pub(crate) fn repro_a_receiver_holds_no_more_than_it_has_room_for() {
    let null = null();
    let many = [null.as_fd(); 253];
    for room in [0, 1, 2, 200] {
        let (mut left, mut right) = Stream::pair().unwrap();
        let before = fds::open().len();
        let mut inbox = Inbox::<4096>::new();
        left.send_with(&[&frame(1, (253, 0), b"")], &many).unwrap();
        left.send_with(&[&frame(2, (253, 253), b"")], &many).unwrap();
        left.send_with(&[&frame(3, (253, 506), b"")[..10]], &many).unwrap();
        let mut most = 0;
        for _ in 0..8 {
            _ = inbox.receive_with(&mut right, room).unwrap();
            most = most.max(fds::open().len() - before);
            while let Some(header) = inbox.advance().unwrap() {
                let expected = FdsLost { expected: header.fd_count(), got: room };
                assert_eq!(inbox.current().fds_lost, Some(expected));
            }
        }
        assert_eq!(most, room);
        drop(inbox);
        assert_eq!(fds::open().len(), before);
    }
}

/// The kernel pads a control buffer, and uses the padding for more descriptors.
pub(crate) fn repro_exactly_the_room_is_filled() {
    let null = null();
    let (mut left, mut right) = Stream::pair().unwrap();
    let (mut small, mut large) = Seqpacket::<64>::pair().unwrap();
    for room in 0..=8 {
        let mut list = Fds::new();
        left.send_with(&[b"x"], &[null.as_fd(); 9]).unwrap();
        right.receive_with(&mut [0; 4], &mut list.fds_up_to(room)).unwrap();
        assert_eq!(list.len(), room);
        list.fds().clear();
        small.send_with(&[b"x"], &[null.as_fd(); 9]).unwrap();
        let received = large.receive_with(&mut [0; 4], &mut list.fds_up_to(room)).unwrap();
        assert_eq!((list.len(), received.unwrap().fds_truncated), (room, true));
    }
}

fn switch(socket: impl AsFd, option: i32, on: i32) -> bool {
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel reads the four bytes of `on`.
    unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, (&raw const on).cast(), 4) == 0 }
}

fn is_on(socket: impl AsFd, option: i32) -> bool {
    let (mut on, mut len) = (0_i32, 4);
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most four bytes to `on`.
    let result = unsafe {
        libc::getsockopt(socket, libc::SOL_SOCKET, option, (&raw mut on).cast(), &raw mut len)
    };
    result == 0 && on != 0
}

pub(crate) fn repro_options_that_add_control_messages_are_switched_off() {
    let pair = || Stream::pair().unwrap();
    let (left, _) = pair();
    for option in [SO_PASSCRED, SO_PASSPIDFD] {
        switch(&left, option, 1);
    }
    let fd = duplicate(left.as_fd()).unwrap();
    let taken = Stream::from(fd);
    assert!(!is_on(&taken, SO_PASSCRED) && !is_on(&taken, SO_PASSPIDFD));
    switch(&left, SO_PASSPIDFD, 1);
    let taken = Seqpacket::<64>::from(duplicate(left.as_fd()).unwrap());
    assert!(!is_on(&taken, SO_PASSPIDFD));
}

/// Another process with the same socket may switch the option on again.
pub(crate) fn repro_pidfds_that_nobody_asked_for_are_closed() {
    let (mut left, mut right) = Stream::pair().unwrap();
    if !switch(&right, SO_PASSPIDFD, 1) {
        ipc_tests::cases::skip("pidfds in control messages", "kernel 6.5");
    }
    let before = fds::open().len();
    let mut inbox = Inbox::<1024>::new();
    for id in 0..50 {
        left.send(&[&Header::request(1, id).encode()]).unwrap();
        _ = fds::receive(&mut inbox, &mut right).unwrap();
        assert_eq!(inbox.advance().unwrap().unwrap().id(), id);
    }
    assert_eq!(fds::open().len(), before);
    let own = file();
    left.send_with(&[&frame(1, (1, 0), b"")], &[own.as_fd()]).unwrap();
    let mut list = Vec::new();
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!(list, [got(1, b"", &[id_of(&own)])]);
}

pub(crate) fn repro_frames_of_more_than_253_descriptors_are_refused_alike() {
    let null = null();
    let mut outbox = Outbox::<4096, 8>::new();
    let before = fds::open().len();
    for count in [254, 255, 256, 1000] {
        assert!(!outbox.has_room_for(0, count));
        assert_eq!(
            outbox.reserve(0, count).err(),
            Some(PushError::TooManyFds { count, limit: 253 })
        );
    }
    let mut list = FdList::<254>::new();
    while list.fds().push(duplicate(null.as_fd()).unwrap()).is_ok() {}
    let refused = outbox.push_with(Header::reply(1), &[], &mut list.fds());
    assert_eq!(refused, Err(PushError::TooManyFds { count: 254, limit: 253 }));
    assert_eq!(list.len(), 254, "nothing is closed");
    assert!(outbox.has_room_for(0, 253));
    let mut fewer = FdList::<253>::new();
    while fewer.fds().room() > 0 {
        fewer.fds().push(list.fds().take_first().unwrap()).unwrap();
    }
    outbox.push_with(Header::reply(1), &[], &mut fewer.fds()).unwrap();
    assert!(!outbox.has_room_for(0, 1) && outbox.has_room_for(0, 0));
    let full = outbox.push_with(Header::reply(1), &[], &mut list.fds());
    assert_eq!((full, list.len()), (Err(PushError::Full), 1));
    drop((outbox, list));
    assert_eq!(fds::open().len(), before);
}

/// The first of two frames announces descriptors but brings none. Both arrive in one call, or in
/// two.
pub(crate) fn repro_a_frame_without_its_descriptor_takes_no_other_frames() {
    let own = file();
    for at_once in [true, false] {
        let (mut left, mut right) = Stream::pair().unwrap();
        let (mut inbox, mut list) = (Inbox::<4096>::new(), Vec::new());
        left.send(&[&frame(1, (1, 0), b"")]).unwrap();
        if !at_once {
            take_all(&mut inbox, &mut right, &mut list);
        }
        left.send_with(&[&frame(2, (1, 1), b"")], &[own.as_fd()]).unwrap();
        take_all(&mut inbox, &mut right, &mut list);
        assert_eq!(list[0].lost, Some(FdsLost { expected: 1, got: 0 }));
        assert_eq!(list[1], got(2, b"", &[id_of(&own)]));
    }
}

pub(crate) fn two_frames_that_claim_the_same_descriptors_end_the_stream() {
    let own = file();
    let before = fds::open().len();
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut inbox = Inbox::<4096>::new();
    let both = [frame(1, (1, 0), b""), frame(2, (1, 1), b"")].concat();
    left.send_with(&[&both[..30]], &[own.as_fd()]).unwrap();
    left.send(&[&both[30..]]).unwrap();
    assert!(fds::receive(&mut inbox, &mut right).unwrap().is_some());
    assert_eq!(inbox.advance().unwrap().unwrap().id(), 1);
    assert!(fds::receive(&mut inbox, &mut right).unwrap().is_some());
    let error = Err(InboxError::FdsClaimedTwice { fd_count: 1 });
    assert_eq!(inbox.advance(), error);
    assert_eq!(inbox.receive(&mut right), Ok(Arrived::TakeFrames), "nothing more is received");
    assert_eq!(inbox.advance(), error);
    drop((left, right, inbox));
    assert_eq!(fds::open().len(), before);
}

/// An edge-triggered loop must know whether there is more.
pub(crate) fn repro_take_frames_is_not_would_block() {
    let own = file();
    let (mut left, mut right) = Stream::pair().unwrap();
    for sequence in 0..5 {
        left.send_with(&[&frame(1, (1, sequence), b"")], &[own.as_fd()]).unwrap();
    }
    let (mut inbox, mut list) = (Inbox::<4096>::new(), Vec::new());
    loop {
        match inbox.receive_with(&mut right, 1).unwrap() {
            Arrived::Bytes(_) => {}
            Arrived::TakeFrames => take(&mut inbox, &mut list),
            Arrived::WouldBlock => break,
        }
    }
    take(&mut inbox, &mut list);
    assert_eq!(list.iter().filter(|got| got.files.len() == 1).count(), 5);
}

/// poll does not show the rest of a packet: a loop must wait only when nothing is left.
pub(crate) fn packets_longer_than_the_inbox_arrive_whole_before_a_wait() {
    let (mut left, mut right) = Seqpacket::<4096>::pair().unwrap();
    let mut outbox = Outbox::<8192, 8>::new();
    let mut own = FdList::<1>::new();
    own.fds().push(file()).unwrap();
    for id in 0..3 {
        outbox.push_with(Header::request(1, id), &[&[7; 1900]], &mut own.fds()).unwrap();
    }
    assert!(outbox.flush_with(&mut left).unwrap().complete);
    let (mut inbox, mut list) = (Inbox::<2048>::new(), Vec::new());
    while list.len() < 3 {
        match inbox.receive_with(&mut right, 1).unwrap() {
            Arrived::Bytes(_) | Arrived::TakeFrames => take(&mut inbox, &mut list),
            Arrived::WouldBlock => panic!("frames are left, but nothing to wait for"),
        }
    }
    assert_eq!((list[0].files.len(), list[2].payload.len()), (1, 1900));
}

/// More descriptors than one frame can have, added by hand.
pub(crate) fn repro_descriptors_put_in_by_hand_shift_no_later_ones() {
    let (null, own) = (null(), file());
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut inbox = Inbox::<4096>::new();
    let bytes = frame(1, (253, 0), b"");
    inbox.space()[..bytes.len()].copy_from_slice(&bytes);
    let mut many = FdList::<400>::new();
    while many.fds().push(duplicate(null.as_fd()).unwrap()).is_ok() {}
    inbox.filled(bytes.len(), &mut many.fds());
    assert!(many.is_empty());
    left.send_with(&[&frame(2, (1, 253), b"")], &[own.as_fd()]).unwrap();
    let mut list = Vec::new();
    take_all(&mut inbox, &mut right, &mut list);
    assert_eq!((list[0].lost, list[0].files.len()), (None, 253));
    assert_eq!(list[1], got(2, b"", &[id_of(&own)]));
}

pub(crate) fn plain_transports_carry_the_same_frames() {
    let mut loopback = ipc_transport::Loopback::<128>::new();
    let (mut left, mut right) = loopback.ends();
    let (mut outbox, mut inbox) = (Outbox::<1024, 8>::new(), Inbox::<1024>::new());
    for id in 0..8 {
        outbox.push(Header::request(1, id), &[b"payload"]).unwrap();
    }
    let mut ids = Vec::new();
    while ids.len() < 8 {
        _ = outbox.flush(&mut left).unwrap();
        _ = inbox.receive(&mut right).unwrap();
        while let Some(header) = inbox.advance().unwrap() {
            ids.push(header.id());
        }
    }
    assert_eq!(ids, (0..8).collect::<Vec<u64>>());
}

pub(crate) fn fds_are_a_bounded_view() {
    let files = [file(), file(), file()];
    let ids = files.each_ref().map(id_of);
    let mut list = FdList::<4>::new();
    let mut view = list.fds_up_to(3);
    assert_eq!((view.room(), view.len(), view.is_empty()), (3, 0, true));
    let [first, second, third] = files;
    for fd in [first, second] {
        view.push(fd).unwrap();
    }
    view.push(third).unwrap();
    assert_eq!(view.room(), 0);
    let one_more = file();
    let id = id_of(&one_more);
    assert_eq!(id_of(view.push(one_more).unwrap_err()), id, "the descriptor is returned");
    let seen: Vec<u64> = view.iter().map(id_of).collect();
    assert_eq!(seen, ids);
    assert!(view.take_all::<2>().is_none());
    assert_eq!(id_of(view.take_first().unwrap()), ids[0]);
    let [second, third] = view.take_all().unwrap();
    assert_eq!([id_of(second), id_of(third)], ids[1..]);
    assert!(view.take_first().is_none());
}
