//! The descriptor for an event loop.

use std::os::fd::AsRawFd;

use ipc_barrier::{Lane, ParentEnd, Unmet};
use ipc_tests::forked::soon;
use ipc_tests::random::Random;

use crate::peer::{Order, Peer, is_readable, milliseconds, pair};

/// Everything the peer can do that counts as news.
const NEWS: [Order; 5] = [Order::Place, Order::Abort, Order::Fail, Order::Drop, Order::Exit];

fn tell_news(peer: &mut Peer, order: Order) {
    if order == Order::Exit {
        peer.exits();
    } else {
        peer.does(order);
    }
}

/// Asserts that a look finds what the peer did last.
fn look<L: Lane>(end: &mut ParentEnd<L>, order: Order) {
    let outcome = end.try_wait_next();
    match order {
        Order::Place => assert_eq!(outcome, Ok(true)),
        Order::Drop | Order::Exit => assert_eq!(outcome, Err(Unmet::Gone)),
        _ => assert!(matches!(outcome, Err(Unmet::Aborted(_)))),
    }
}

pub(crate) fn the_watched_descriptor_is_readable_on_token_abort_and_death<L: Lane>() {
    for order in NEWS {
        let (mut end, mut peer) = pair::<L>();
        let watch = end.watch().unwrap().as_raw_fd();
        assert_eq!(end.watch().unwrap().as_raw_fd(), watch, "it stays the same");
        for round in 0..5 {
            // The first round has no look and no `arm` before it.
            if round > 0 {
                assert_eq!(end.try_wait_next(), Ok(false));
                assert!(end.arm(), "nothing has come");
            }
            assert!(!is_readable(end.watch().unwrap(), milliseconds(2)), "{order:?}: too early");
            _ = end.place();
            assert!(!is_readable(end.watch().unwrap(), milliseconds(2)), "its own token shows");
            peer.does(Order::Place);
            assert!(is_readable(end.watch().unwrap(), soon()), "{order:?}");
            look(&mut end, Order::Place);
        }
        assert_eq!(end.try_wait_next(), Ok(false));
        assert!(end.arm());
        tell_news(&mut peer, order);
        assert!(is_readable(end.watch().unwrap(), soon()), "{order:?}");
        look(&mut end, order);
        let is_gone = matches!(order, Order::Drop | Order::Exit);
        // After this only an end still shows, for ever.
        end.arm();
        assert_eq!(is_readable(end.watch().unwrap(), milliseconds(2)), is_gone, "{order:?}");
    }
}

pub(crate) fn the_first_post_is_shown_before_any_look_and_any_arm<L: Lane>() {
    for order in NEWS {
        let (mut end, mut peer) = pair::<L>();
        // The news may come before or after the watch is created.
        if order == Order::Abort {
            end.watch().unwrap();
        }
        tell_news(&mut peer, order);
        assert!(is_readable(end.watch().unwrap(), soon()), "{order:?}");
        look(&mut end, order);
    }
}

/// A wait leaves the watch as `arm` would, since both sleep on the same bell.
pub(crate) fn a_wait_that_ran_out_leaves_the_next_post_shown<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    peer.does(Order::Place);
    assert_eq!(end.wait_next_until(soon()), Ok(()));
    end.watch().unwrap();
    assert_eq!(end.try_wait_next(), Ok(false));
    assert!(end.arm());
    assert_eq!(end.wait_next_until(milliseconds(5)), Err(Unmet::TimedOut));
    peer.does(Order::Place);
    assert!(is_readable(end.watch().unwrap(), soon()));
    look(&mut end, Order::Place);
}

/// Random orders for both sides, with an event loop's way of looking in between. The loop must be
/// woken whenever the peer has placed since the last look.
pub(crate) fn no_order_of_place_look_arm_and_wait_loses_a_wake_up<L: Lane>() {
    let mut random = Random::new();
    let (mut end, mut peer) = pair::<L>();
    end.watch().unwrap();
    let mut unread = false;
    let mut told = (0, 0);
    for step in 0..10_000 {
        match random.below(6) {
            0 | 1 => {
                peer.does(Order::Place);
                unread = true;
            }
            2 => {
                _ = end.place();
            }
            3 => {
                assert_eq!(end.try_wait_next(), Ok(unread), "step {step}");
                unread = false;
            }
            4 => {
                let armed = end.arm();
                if L::NAME == "page" {
                    assert_eq!(armed, !unread, "step {step}: false if news has come");
                }
            }
            _ => {
                // Like a loop that is about to sleep.
                if end.arm() {
                    told.0 += 1;
                    if unread {
                        assert!(is_readable(end.watch().unwrap(), soon()), "step {step}");
                    } else {
                        assert!(!is_readable(end.watch().unwrap(), milliseconds(0)), "{step}");
                        peer.does(Order::Place);
                        unread = true;
                        assert!(is_readable(end.watch().unwrap(), soon()), "step {step}");
                    }
                } else {
                    told.1 += 1;
                    assert!(unread, "step {step}");
                }
            }
        }
    }
    assert!(told.0 > 100, "{told:?}");
}

/// The same with a peer that runs freely: it places whenever it is scheduled. The loop sleeps
/// without a deadline, which would hide a lost wake-up.
pub(crate) fn an_event_loop_misses_no_token_of_a_peer_that_runs_freely<L: Lane>() {
    const TOKENS: usize = 20_000;
    let (mut end, mut peer) = pair::<L>();
    end.watch().unwrap();
    for _ in 0..TOKENS {
        assert!(end.place().is_ok());
    }
    for _ in 0..TOKENS / 20 {
        peer.tell(Order::PlaceTwenty);
    }
    loop {
        match end.try_sync() {
            Ok(true) => break,
            Ok(false) if end.arm() => assert!(is_readable(end.watch().unwrap(), soon())),
            Ok(false) => {}
            Err(unmet) => panic!("{unmet}"),
        }
    }
}
