//! Aborts and their reasons.

use ipc_barrier::{Lane, PeerAbort, Unmet};
use ipc_tests::forked::soon;
use ipc_transport::Errno;

use crate::peer::{ABORTED, CUT, Order, milliseconds, pair};

pub(crate) fn an_abort_supersedes_tokens_that_are_unread<L: Lane>() {
    for wait_for_sync in [false, true] {
        let (mut end, mut peer) = pair::<L>();
        _ = end.place();
        peer.does(Order::Place);
        peer.does(Order::Place);
        assert_eq!(peer.does(Order::Abort), 'y');
        let outcome = if wait_for_sync { end.sync() } else { end.wait_next() };
        assert_eq!(outcome, Err(ABORTED));
        assert!(end.place().is_err());
        assert!(!end.abort(), "the peer is known to have aborted");
    }
}

pub(crate) fn tokens_drained_before_an_abort_still_count<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    _ = end.place();
    peer.does(Order::Place);
    assert_eq!(end.wait_next_until(soon()), Ok(()));
    peer.does(Order::Abort);
    assert_eq!(end.sync(), Ok(()));
}

pub(crate) fn an_abort_of_ones_own_ends_every_wait_but_the_one_for_the_peers<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    peer.does(Order::Place);
    assert!(end.abort(), "the peer is not known to have aborted");
    for _ in 0..10 {
        assert!(end.abort(), "a second abort is harmless: only one is posted");
    }
    assert!(end.has_aborted() && end.place().is_err());
    assert_eq!(end.sync(), Err(ABORTED));
    assert_eq!(end.wait_next(), Err(ABORTED));
    assert_eq!(end.try_wait_abort(), None, "the peer's token is consumed");
    assert_eq!(end.wait_abort_until(milliseconds(20)), None);
    assert_eq!(peer.does(Order::WaitNext), 'a');
    assert_eq!(peer.does(Order::WaitPeerAbort), 'a');
    assert_eq!(peer.does(Order::Abort), 'n');
    assert_eq!(end.wait_abort(), PeerAbort::Aborted(None));
}

pub(crate) fn wait_abort_swallows_tokens_and_tells_how_the_peer_ended<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    for _ in 0..3 {
        peer.does(Order::Place);
    }
    assert_eq!(end.try_wait_abort(), None);
    assert_eq!(end.try_wait_next(), Ok(false), "swallowed");
    peer.does(Order::Place);
    peer.exits();
    assert_eq!(end.wait_abort(), PeerAbort::Gone);
    assert_eq!(end.try_wait_abort(), Some(PeerAbort::Gone));
    assert!(!end.has_aborted());
}

pub(crate) fn a_reason_reaches_the_other_side_both_ways<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    peer.does(Order::Place);
    peer.does(Order::Fail);
    let Err(Unmet::Aborted(Some(reason))) = end.wait_next_until(soon()) else {
        panic!("no reason");
    };
    assert_eq!((reason.stage.as_str(), reason.errno), ("7", Errno(libc::ENOSPC)));
    assert_eq!(reason.text.as_str(), CUT);
    assert_eq!(end.sync(), Err(Unmet::Aborted(Some(reason))), "and again");
    peer.exits();
    assert_eq!(end.wait_abort(), PeerAbort::Aborted(Some(reason)), "still known after its death");

    let (mut end, mut peer) = pair::<L>();
    // A NUL would end the text on the wire, and is left out.
    end.fail("\09", &Errno(libc::EACCES), "par\0ent");
    assert!(end.has_aborted());
    assert_eq!(peer.does(Order::ReadReason), '+');
    assert_eq!(peer.does(Order::WaitPeerAbort), 'r');
}

pub(crate) fn both_sides_may_fail_and_each_reads_the_others_reason<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    end.fail("9", &Errno(libc::EACCES), "parent");
    peer.does(Order::Fail);
    let Some(PeerAbort::Aborted(Some(reason))) = end.wait_abort_until(soon()) else {
        panic!("no reason");
    };
    assert_eq!(reason.stage.as_str(), "7");
}

pub(crate) fn a_reason_after_an_abort_changes_nothing<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    peer.does(Order::Abort);
    peer.does(Order::Fail);
    assert_eq!(end.wait_next_until(soon()), Err(ABORTED));
    end.abort();
    end.fail("9", &Errno(libc::EACCES), "parent");
    assert_eq!(peer.does(Order::WaitPeerAbort), 'a');
}
