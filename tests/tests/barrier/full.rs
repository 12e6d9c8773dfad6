//! More places than fit, with nobody reading.

use std::os::fd::AsRawFd;

use ipc_barrier::{Lane, Unmet};
use ipc_tests::forked::soon;

use crate::peer::{ABORTED, Order, pair};
use crate::words::{Words, word_of};

/// As many tokens as the page's word holds.
const MOST: u32 = (1 << 30) - 1;

pub(crate) fn a_word_that_is_full_takes_no_token_and_loses_none<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    // As if that many had been placed; what the peer places is answered by the last two.
    Words::of_the_only_barrier().store(word_of(0), MOST - 2);
    assert!(end.place() && end.place());
    for _ in 0..3 {
        assert!(!end.place(), "there is no room");
        assert!(!end.has_ended(), "which is no abortion");
        assert_eq!(end.place_and_sync(), Err(Unmet::TimedOut), "at once, also without deadline");
        assert_eq!(end.place_and_sync_until(soon()), Err(Unmet::TimedOut));
    }
    // What did not fit was not counted: two answers are enough.
    assert_eq!(peer.does(Order::WaitNext), '+');
    peer.does(Order::Place);
    assert_eq!(end.sync_next_until(soon()), Ok(()));
    assert_eq!(end.try_sync(), Ok(false));
    peer.does(Order::Place);
    assert_eq!(end.sync_until(soon()), Ok(()));
    assert!(end.place(), "there is room again");
    assert_eq!(peer.does(Order::WaitNext), '+');
}

pub(crate) fn a_counter_that_is_full_takes_no_token_and_does_not_block<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    let counter = end.descriptors().next().unwrap();
    assert!(counter.as_raw_fd() > 2);
    // What a counter holds at most (eventfd(2)), but for two.
    rustix::io::write(counter, &(u64::MAX - 3).to_ne_bytes()).unwrap();
    assert!(end.place() && end.place());
    for _ in 0..3 {
        assert!(!end.place() && !end.has_ended());
        assert_eq!(end.place_and_sync(), Err(Unmet::TimedOut));
    }
    // So many cannot be placed one by one: to the peer it is an abortion, not a silence.
    assert_eq!(peer.does(Order::WaitNext), 'a');
    assert!(end.abort(), "nothing is known of the peer");
    assert_eq!(end.sync(), Err(ABORTED));
}
