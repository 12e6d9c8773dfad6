//! Unread rings: how many a side leaves in its bell.

use ipc_barrier::{Lane, ParentEnd, Unmet};
use ipc_tests::fds;
use ipc_tests::forked::soon;

use crate::peer::{Order, linger, milliseconds, pair};

/// Returns how many rings are in the bell of the `page` lane.
fn unread<L: Lane>(end: &ParentEnd<L>) -> u64 {
    if L::NAME == "page" {
        rustix::io::ioctl_fionread(end.descriptors().nth(1).unwrap()).unwrap()
    } else {
        0
    }
}

/// Each wait times out, and then a `try_` call finds the token: nothing reads its ring.
pub(crate) fn repro_rings_that_are_not_read_are_few<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    for round in 0..1_000 {
        linger(&mut end);
        assert_eq!(peer.does(Order::Place), 'y');
        assert_eq!(end.try_wait_next(), Ok(true));
        assert!(unread(&end) <= 3, "round {round}: {} rings", unread(&end));
    }
    peer.tell(Order::Place);
    assert_eq!(end.wait_next(), Ok(()));
    assert_eq!(peer.answer(), b'y');
    assert!(unread(&end) <= 3);
}

pub(crate) fn a_wait_opens_no_descriptor<L: Lane>() {
    let (end, mut peer) = pair::<L>();
    let mut end = end.watching(&peer.process).unwrap();
    let open = fds::open();
    for _ in 0..100 {
        linger(&mut end);
        assert_eq!(end.wait_next_until(milliseconds(0)), Err(Unmet::TimedOut));
        peer.tell(Order::Place);
        assert_eq!(end.wait_next_until(soon()), Ok(()));
        assert_eq!(peer.answer(), b'y');
    }
    assert_eq!(fds::open(), open);
}
