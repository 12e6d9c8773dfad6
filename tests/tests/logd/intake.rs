//! Messages that wait in main: clients that do not wait, and messages that do not fit.

use std::io::ErrorKind;

use rustix::process::Signal;

use crate::daemon::Logd;
use crate::home::{Home, eventually};

/// Without an intake all but the first few messages were lost.
pub(crate) fn clients_that_do_not_wait_lose_nothing_in_a_short_stall() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    let client = logd.client();
    client.set_nonblocking(true).unwrap();
    logd.signal_worker(Signal::STOP);
    let text = |number: u32| format!("held {number} {}", "x".repeat(80));
    for number in 0..3000 {
        // The client waits only for the kernel's own queue of ten messages.
        eventually("room in the kernel", || match client.send(text(number).as_bytes()) {
            Ok(_) => Some(()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                None
            }
        });
    }
    eventually("all of them", || {
        (logd.figures("second").last()?.number("received") == 3000).then_some(())
    });
    logd.signal_worker(Signal::CONT);
    let end = logd.stop();
    assert!(home.texts().into_iter().eq((0..3000).map(text)), "each one once and in order");
    end.expect(["written", "paused"], [3000, 0]);
}

fn overflown(policy: &str) -> (Vec<String>, u64) {
    const SENT: u32 = 4000;
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--intake", "65536", "--when-full", policy]);
    logd.signal_worker(Signal::STOP);
    logd.send(|number| format!("{number} {}", "x".repeat(200)), SENT);
    eventually("all of them", || {
        (logd.figures("second").last()?.number("received") == SENT.into()).then_some(())
    });
    logd.signal_worker(Signal::CONT);
    let end = logd.stop();
    let dropped = end.number("dropped");
    assert_eq!(end.number("written") + dropped, SENT.into(), "{end:?}");
    assert!(dropped > 1000, "{dropped}");
    assert_eq!(logd.said_count("logd: the intake is full: dropping messages"), 1);
    assert_eq!(
        logd.said_count(&format!("last line repeated (times: {})", dropped - 1)),
        1,
        "{}",
        logd.said()
    );
    (home.texts(), dropped)
}

/// Separates the daemon's counts of dropped messages from the numbers of the others.
fn told(texts: &[String]) -> (u64, Vec<u32>) {
    let own = texts.iter().filter_map(|text| text.strip_prefix("logd: "));
    let dropped = own.map(|text| text.split(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    let numbers = texts.iter().filter(|text| !text.starts_with("logd: "));
    (dropped, numbers.map(|text| text.split(' ').next().unwrap().parse().unwrap()).collect())
}

pub(crate) fn what_the_intake_cannot_hold_is_dropped_and_counted_in_the_log() {
    let (texts, dropped) = overflown("drop-new");
    let (counted, numbers) = told(&texts);
    assert_eq!(counted, dropped);
    assert!(
        numbers.iter().copied().eq(0..4000 - u32::try_from(dropped).unwrap()),
        "the first ones"
    );
}

pub(crate) fn the_oldest_goes_first_where_that_is_asked_for() {
    let (texts, dropped) = overflown("drop-oldest");
    let (counted, numbers) = told(&texts);
    assert_eq!(counted, dropped);
    assert_eq!(numbers.last(), Some(&3999), "the last one stays");
    assert!(numbers.is_sorted(), "in their order");
}

/// Drops were counted twice if the worker was killed after it had logged them. They were not
/// counted at all if the reply to an earlier message made main forget them.
pub(crate) fn repro_what_is_dropped_is_counted_through_kills() {
    let home = Home::new();
    let options = ["--intake", "65536", "--when-full", "drop-new", "--stall", "20/21"];
    let mut logd = Logd::start(&home, &options);
    for round in 0..6 {
        logd.send(|number| format!("{round} {number} {}", "x".repeat(200)), 1500);
        if round % 2 == 1 {
            logd.replace_worker();
        }
    }
    let end = logd.stop();
    let dropped = end.number("dropped");
    let own = home.texts().into_iter().filter(|text| text.starts_with("logd: "));
    let counts: Vec<u64> = own.map(|text| told(&[text]).0).collect();
    let said = logd.said();
    let mut rest = said.lines().filter_map(|line| line.split_once("not counted in the log: "));
    let rest = rest.next().map_or(0, |(_, rest)| rest.split(',').next().unwrap().parse().unwrap());
    let counted = counts.iter().sum::<u64>() + rest;
    println!("{counted} of {dropped} counted, in {counts:?} and {rest}");
    // A worker killed right after its line has not reported it.
    let most = dropped + 3 * counts.iter().max().unwrap();
    assert!(dropped > 500 && (dropped..=most).contains(&counted), "{said}");
}
