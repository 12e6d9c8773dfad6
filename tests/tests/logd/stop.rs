//! Signals: stopping with nothing lost, or every loss named, and reopening the log.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::daemon::Logd;
use crate::home::{Home, eventually};
use crate::load::Load;

/// Bytes of a short message.
const SHORT: usize = 60;

/// Sends until the daemon has accepted nothing for a while. Returns how many messages were
/// accepted.
pub(crate) fn send_until_full(client: &UnixDatagram, mut text: impl FnMut(u32) -> String) -> u32 {
    client.set_nonblocking(true).unwrap();
    let (mut count, mut last) = (0, Instant::now());
    while last.elapsed() < Duration::from_millis(300) {
        match client.send(text(count).as_bytes()) {
            Ok(_) => {
                count += 1;
                last = Instant::now();
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        assert!(count < 10_000, "the daemon takes everything");
    }
    count
}

fn loses_nothing(arguments: &[&str], signal: Signal) {
    let home = Home::new();
    let mut logd = Logd::start(&home, arguments);
    let load = Load::start(&logd, 4, SHORT);
    home.await_lines(500);
    logd.signal(signal);
    let end = logd.expect_good_end();
    let sent = load.check(&home, "");
    end.expect(["received", "written"], [sent, sent]);
    // On a busy machine the disk may lag behind by a full intake.
    let is_expected = |line: &str| line.contains("clients wait") || line.contains("repeated");
    assert!(logd.said().lines().all(is_expected), "{}", logd.said());
}

pub(crate) fn sigterm_under_load_loses_nothing() {
    loses_nothing(&[], Signal::TERM);
}

pub(crate) fn sigint_under_load_loses_nothing() {
    loses_nothing(&[], Signal::INT);
}

pub(crate) fn sigterm_under_load_in_line_loses_nothing() {
    loses_nothing(&["--inline"], Signal::TERM);
}

/// The messages that main had not even read were lost without a report.
pub(crate) fn repro_sigquit_ends_at_once_and_names_what_is_lost() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--intake", "65536"]);
    let client = logd.client();
    client.send(b"written").unwrap();
    eventually("the reply", || {
        (logd.figures("second").last()?.number("written") == 1).then_some(())
    });
    logd.signal_worker(Signal::STOP);
    let count = send_until_full(&client, |number| format!("held {number} {}", "x".repeat(100)));
    let start = Instant::now();
    logd.signal(Signal::QUIT);
    assert_eq!(logd.await_end().code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());

    let said = logd.said();
    let lost: Vec<&str> = said.lines().filter(|line| line.contains("logd: lost (")).collect();
    for number in 0..count {
        let name = format!("): held {number} ");
        assert_eq!(lost.iter().filter(|line| line.contains(&name)).count(), 1, "{name}: {said}");
    }
    assert_eq!(home.texts(), ["written"]);
    let end = logd.figures("end").pop().unwrap();
    let count = u64::from(count);
    let figures = ["received", "written", "lost"].map(|key| end.number(key));
    assert_eq!(figures, [count + 1, 1, count]);
    assert!(said.ends_with("logd: stopped before everything was written\n"), "{said}");
}

pub(crate) fn sighup_opens_a_new_log() {
    for arguments in [&[][..], &["--inline"]] {
        let home = Home::new();
        let mut logd = Logd::start(&home, arguments);
        let client = logd.client();
        client.send(b"one").unwrap();
        home.await_lines(1);
        fs::rename(home.log(0), home.log(7)).unwrap();
        client.send(b"two").unwrap();
        home.await_lines(2);
        assert_eq!(home.numbers(), [7], "it still writes to the file that it has");
        logd.signal(Signal::HUP);
        eventually("a new log", || home.log(0).exists().then_some(()));
        client.send(b"three").unwrap();
        let end = logd.stop();
        assert_eq!(home.numbers(), [7, 0]);
        assert_eq!(home.texts(), ["one", "two", "three"]);
        assert_eq!(crate::home::lines(&fs::read(home.log(0)).unwrap()).len(), 1);
        end.expect(["received", "written"], [3, 3]);
        assert_eq!(logd.said(), "");
    }
}

pub(crate) fn a_log_that_cannot_be_reopened_is_said_and_the_old_one_stays() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    let client = logd.client();
    client.send(b"one").unwrap();
    home.await_lines(1);
    fs::rename(home.log(0), home.path("old")).unwrap();
    fs::create_dir(home.log(0)).unwrap();
    logd.signal(Signal::HUP);
    logd.await_said("logd: the log could not be reopened: EISDIR");
    client.send(b"two").unwrap();
    let end = logd.stop();
    end.expect(["one_ways_refused"], [1]);
    let texts = crate::home::lines(&fs::read(home.path("old")).unwrap());
    assert!(texts.into_iter().map(|line| line.text).eq(["one", "two"]));
    assert_eq!(logd.said().lines().count(), 1, "{}", logd.said());
}
