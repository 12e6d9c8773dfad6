//! More tokens than fit, unread by the peer.

use std::os::fd::AsRawFd;

use ipc_barrier::{Lane, MeetError, PeerAbort, Unmet};
use ipc_tests::forked::soon;

use crate::peer::{ABORTED, Order, milliseconds, pair};
use crate::words::{Words, word_of};

/// The most tokens that the page's word can hold.
const MOST: u32 = (1 << 30) - 1;

pub(crate) fn repro_a_full_word_is_no_timeout_and_loses_no_token<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    // As if that many were placed; the peer's tokens answer the last two.
    Words::of_the_only_barrier().store(word_of(0), MOST - 2);
    assert!(end.place().is_ok() && end.place().is_ok());
    for _ in 0..3 {
        assert_eq!(end.place(), Err(MeetError::Full));
        assert!(end.peer_abort().is_none() && !end.has_aborted(), "a full word is not an abort");
        assert_eq!(end.place_and_sync(), Err(MeetError::Full), "at once, even without a deadline");
        assert_eq!(end.place_and_sync_until(soon()), Err(MeetError::Full));
    }
    // Tokens that did not fit were not counted: two answers are enough.
    assert_eq!(peer.does(Order::WaitNext), '+');
    peer.does(Order::Place);
    assert_eq!(end.sync_next_until(soon()), Ok(()));
    assert_eq!(end.try_sync(), Ok(false));
    peer.does(Order::Place);
    assert_eq!(end.sync_until(soon()), Ok(()));
    assert!(end.place().is_ok(), "there is room again");
    assert_eq!(peer.does(Order::WaitNext), '+');
}

pub(crate) fn a_counter_that_is_full_takes_no_token_and_does_not_block<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    let counter = end.descriptors().next().unwrap();
    assert!(counter.as_raw_fd() > 2);
    // Two below a counter's limit (eventfd(2)).
    rustix::io::write(counter, &(u64::MAX - 3).to_ne_bytes()).unwrap();
    assert!(end.place().is_ok() && end.place().is_ok());
    for _ in 0..3 {
        assert!(end.place() == Err(MeetError::Full) && end.peer_abort().is_none());
        assert_eq!(end.place_and_sync(), Err(MeetError::Full));
    }
    // No real peer places that many: the other side treats it as an abort.
    assert_eq!(peer.does(Order::WaitNext), 'a');
    assert!(end.abort(), "the peer is not known to have aborted");
    assert_eq!(end.sync(), Err(ABORTED));
}

pub(crate) fn placing_and_waiting_tell_which_of_the_two_failed<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    assert_eq!(
        end.place_and_sync_until(milliseconds(10)),
        Err(MeetError::Unmet(Unmet::TimedOut)),
        "placed, not answered"
    );
    peer.does(Order::Abort);
    assert_eq!(end.place_and_sync(), Err(MeetError::Unmet(ABORTED)), "placed before it was known");
    assert_eq!(end.place_and_sync(), Err(MeetError::Ended(ABORTED)), "not placed");
    assert_eq!(end.place(), Err(MeetError::Ended(ABORTED)));
}

pub(crate) fn what_is_known_of_the_peer_is_told_without_a_look<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    assert_eq!(end.peer_abort(), None);
    peer.does(Order::Fail);
    assert_eq!(end.peer_abort(), None, "not noticed yet");
    assert!(end.try_wait_next().is_err());
    let Some(PeerAbort::Aborted(Some(reason))) = end.peer_abort() else { panic!("no reason") };
    assert_eq!(reason.stage.as_str(), "7");
    assert!(!end.has_aborted());
    let (mut end, mut peer) = pair::<L>();
    peer.does(Order::Drop);
    assert_eq!(end.sync_next(), Ok(()), "nothing to wait for");
    assert_eq!(end.peer_abort(), None);
    assert!(end.abort());
    assert_eq!(end.wait_abort(), PeerAbort::Gone);
    assert_eq!(end.peer_abort(), Some(PeerAbort::Gone));
}
