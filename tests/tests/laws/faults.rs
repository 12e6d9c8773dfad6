//! Frames over a transport that loses descriptors and connections.

use ipc_frame::Header;
use ipc_tests::fds::{self, Fds, file, id_of};
use ipc_transport::{Faults, Faulty, FdsLost, Inbox, Outbox, PassFds, TransportError, duplicate};
use std::os::fd::AsFd;

use crate::pairs;
use ipc_transport::laws::parts::settled;

/// Sends frames with 0 to 2 descriptors each, and checks that they arrive in order and whole, each
/// with its own descriptors or with a report of their loss. Returns the number of frames and of
/// losses.
fn exchange<T: PassFds>(pair: (T, T), faults: Faults, seed: u64) -> (u64, u64) {
    let mut left = Faulty::new(pair.0, Faults { drop_fds: 0, ..faults }, seed);
    let mut right = Faulty::new(pair.1, faults, seed + 1);
    let mut outbox = Outbox::<1024, 8>::new();
    let mut inbox = Inbox::<1024>::new();
    let own = [file(), file()];
    let (mut pushed, mut arrived, mut lost) = (0, 0, 0);
    loop {
        let mut fds = Fds::new();
        for file in &own[..usize::try_from(pushed % 3).unwrap()] {
            fds.fds().push(duplicate(file.as_fd()).unwrap()).unwrap();
        }
        let header = Header::request(1, pushed);
        if pushed < 300 && outbox.push_with(header, &[b"payload"], &mut fds.fds()).is_ok() {
            pushed += 1;
        }
        match outbox.flush_with(&mut left) {
            Err(error) if error != Faults::ERROR => left = closed(error, left),
            _ => outbox.retire_sent(),
        }
        match fds::receive(&mut inbox, &mut right) {
            Err(TransportError::Closed) => return (arrived, lost),
            answer => _ = settled(answer),
        }
        while let Some(header) = inbox.advance().unwrap() {
            let arrival = inbox.current();
            assert_eq!((header.id(), arrival.payload), (arrived, &b"payload"[..]));
            let count = u16::try_from(arrived % 3).unwrap();
            let ids: Vec<u64> = arrival.fds.iter().map(id_of).collect();
            if arrival.fds_lost.is_some() {
                assert_eq!(arrival.fds_lost, Some(FdsLost { expected: count, got: 0 }));
                lost += 1;
            } else {
                assert_eq!(ids, own[..usize::from(count)].iter().map(id_of).collect::<Vec<_>>());
            }
            arrived += 1;
        }
        if arrived == 300 {
            return (arrived, lost);
        }
    }
}

fn closed<T>(error: TransportError, end: Faulty<T>) -> Faulty<T> {
    assert_eq!(error, TransportError::Closed);
    end
}

fn all_pairs(faults: Faults, seed: u64) -> [(u64, u64); 3] {
    [
        exchange(pairs::stream(), faults, seed),
        exchange(pairs::seqpacket(), faults, seed),
        exchange(pairs::loopback(), faults, seed),
    ]
}

pub(crate) fn lost_descriptors_are_told_and_the_next_frame_is_right() {
    let before = fds::open().len();
    for seed in 0..5 {
        let faults = Faults { drop_fds: 64, ..Faults::HARMLESS };
        for (arrived, lost) in all_pairs(faults, seed) {
            assert_eq!(arrived, 300);
            assert!(lost > 10 && lost < 150, "{lost}");
        }
    }
    assert_eq!(fds::open().len(), before);
}

pub(crate) fn a_dropped_connection_ends_after_whole_frames() {
    let before = fds::open().len();
    let mut cut = 0;
    for seed in 0..20 {
        for (arrived, _) in all_pairs(Faults::HARSH, seed) {
            cut += u64::from(arrived < 300);
        }
    }
    assert!(cut > 10, "{cut}");
    assert_eq!(fds::open().len(), before);
}
