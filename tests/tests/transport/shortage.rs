//! Connections that cannot send for a moment.

use std::os::fd::AsFd;

use ipc_frame::{Header, Postcard};
use ipc_tests::fds::{self, file};
use ipc_tests::forked::soon;
use ipc_transport::{Connection, Hello, Stream};

use crate::outbox::become_user;

const HELLO: Hello = Hello::new("spool", 3).fds(8);

type Side<T = Stream> = Connection<T, 4096>;

/// Both sides flushed before they received, and returned `Exhausted` although frames had arrived.
/// The shortage ends only when one of them receives, so neither ever did.
pub(crate) fn repro_two_sides_with_too_many_descriptors_in_flight_still_receive() {
    become_user(4_000_124);
    fds::limit(60);
    let (left, right) = Stream::pair().unwrap();
    let mut sides = [left, right].map(|socket| Side::new(socket, HELLO));
    sides.iter_mut().for_each(|side| _ = side.flush().unwrap());
    sides.iter_mut().for_each(|side| _ = side.open_until(soon()).unwrap());
    let own = file();
    let mut sent = 0;
    while !sides.iter().all(Side::wants_output) {
        for side in &mut sides {
            side.try_send(Header::request(1, sent), &Postcard(1), &[own.as_fd(); 8]).unwrap();
        }
        sent += 1;
    }
    for id in 0..sent {
        for side in &mut sides {
            let (header, mut got) = side.receive_until(soon()).unwrap();
            assert_eq!((header.id(), got.fds_lost, got.fds.len()), (id, None, 8));
            got.fds.clear();
        }
    }
    assert!(!sides.iter().any(Side::wants_output));
}
