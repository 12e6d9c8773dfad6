//! A receiver that repeatedly runs out of descriptors.

use std::fs::File;
use std::os::fd::AsFd;

use ipc_frame::Header;
use ipc_tests::fds::{self, Fds, file, id_of};
use ipc_transport::{FdsLost, Inbox, Outbox, PassFds, duplicate};
use rustix::process::{Resource, getrlimit};

pub(crate) fn a_thousand_losses_leave_the_stream_in_step<A: PassFds, B: PassFds>(
    pair: fn() -> (A, B),
) {
    let (mut left, mut right) = pair();
    let mut outbox = Outbox::<4096, 32>::new();
    let mut inbox = Inbox::<4096>::new();
    let own = file();
    let usual = getrlimit(Resource::Nofile).current.unwrap();
    let null = File::open("/dev/null").unwrap();
    let before = fds::open().len();
    for round in 0..1_000 {
        // This also restores the limit on this user's descriptors in flight (unix(7)).
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
        // Room for no descriptor, or for one of two.
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
                assert_eq!(arrival.fds.iter().count(), whole, "no descriptors, then one");
                whole += 1;
            }
        }
        assert_eq!(whole, 2, "the next frames are whole");
        assert_eq!(fds::open().len(), before, "round {round}");
    }
}
