//! What each kind of wait waits for.

use ipc_barrier::{Lane, Unmet};
use ipc_tests::forked::soon;

use crate::peer::{ABORTED, Order, milliseconds, pair};

pub(crate) fn sync_is_met_once_every_token_is_answered<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    assert!(end.place().is_ok() && end.place().is_ok());
    assert_eq!(end.try_sync(), Ok(false));
    peer.does(Order::Place);
    assert_eq!(end.try_sync(), Ok(false), "only one of two is answered");
    assert_eq!(end.sync_until(milliseconds(20)), Err(Unmet::TimedOut));
    peer.does(Order::Place);
    assert_eq!(end.sync_until(soon()), Ok(()));
    assert_eq!(peer.does(Order::Sync), '+', "and the other way round");
    assert_eq!(end.try_sync(), Ok(true), "it stays met");
}

pub(crate) fn a_peer_that_is_ahead_has_answered_beforehand<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    peer.does(Order::Place);
    peer.does(Order::Place);
    assert_eq!(end.wait_next_until(soon()), Ok(()));
    for _ in 0..2 {
        assert!(end.place().is_ok());
        assert_eq!(end.sync(), Ok(()));
    }
    _ = end.place();
    assert_eq!(end.try_sync(), Ok(false));
}

pub(crate) fn sync_with_nothing_unanswered_makes_no_wait_and_takes_no_look<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    assert_eq!((end.sync(), end.sync_next()), (Ok(()), Ok(())));
    peer.does(Order::Abort);
    assert_eq!((end.sync(), end.sync_next()), (Ok(()), Ok(())), "the abort was not noticed yet");
    assert!(end.place().is_ok());
    assert_eq!(end.wait_next_until(soon()), Err(ABORTED));
    assert_eq!((end.sync(), end.sync_next()), (Err(ABORTED), Err(ABORTED)));
}

pub(crate) fn sync_next_waits_for_one_answer<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    for _ in 0..3 {
        _ = end.place();
    }
    assert_eq!(end.try_sync_next(), Ok(false));
    peer.does(Order::Place);
    assert_eq!(end.sync_next_until(soon()), Ok(()));
    assert_eq!(end.try_sync_next(), Ok(false));
    peer.does(Order::Place);
    peer.does(Order::Place);
    assert_eq!(end.try_sync_next(), Ok(true));
    assert_eq!(end.sync(), Ok(()));
}

pub(crate) fn two_tokens_in_one_drain_meet_one_wait_next<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    peer.does(Order::Place);
    peer.does(Order::Place);
    assert_eq!(end.wait_next_until(soon()), Ok(()));
    assert_eq!(end.try_wait_next(), Ok(false));
    peer.does(Order::Place);
    assert_eq!(end.try_wait_next(), Ok(true));
}

pub(crate) fn wait_next_is_not_met_by_places_of_its_own_side<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    for _ in 0..5 {
        _ = end.place();
    }
    assert_eq!(end.try_wait_next(), Ok(false));
    assert_eq!(end.wait_next_until(milliseconds(20)), Err(Unmet::TimedOut));
    peer.does(Order::Place);
    assert_eq!(end.wait_next_until(soon()), Ok(()));
    assert_eq!(peer.does(Order::WaitNext), '+', "all five arrived");
}
