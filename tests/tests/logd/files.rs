//! The files: rotation, and leftovers of an earlier run.

use std::fs;

use crate::daemon::Logd;
use crate::home::{Home, lines, read};

/// A text whose length depends on its number; the line is at most about 200 bytes long.
fn text(number: usize) -> String {
    format!("message {number} {}", "-".repeat(number * 37 % 140))
}

/// Starts a daemon, sends it `count` messages and stops it.
fn run(home: &Home, arguments: &[&str], count: usize) {
    let mut logd = Logd::start(home, arguments);
    let client = logd.client();
    for number in 0..count {
        client.send(text(number).as_bytes()).unwrap();
    }
    let end = logd.stop();
    end.expect(["written"], [u64::try_from(count).unwrap()]);
    assert_eq!(logd.said(), "");
}

fn check_sizes(home: &Home, limit: u64) {
    for number in home.numbers() {
        let len = fs::metadata(home.log(number)).unwrap().len();
        assert!(len > 0 && len <= limit, "log.{number} has {len} bytes");
    }
}

pub(crate) fn rotation_keeps_size_and_order() {
    let home = Home::new();
    run(&home, &["--rotate-bytes", "2000", "--keep", "1000"], 200);
    check_sizes(&home, 2000);
    let expected: Vec<String> = (0..200).map(text).collect();
    assert_eq!(home.texts(), expected);
    let numbers = home.numbers();
    assert!(numbers.len() > 8, "{numbers:?}");
    assert!(numbers.iter().rev().copied().eq(0..u32::try_from(numbers.len()).unwrap()));
    // No file was started before the previous one was full.
    for pair in numbers.windows(2) {
        let [older, newer] = [pair[0], pair[1]].map(|number| read(&home.log(number)));
        let first = newer.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        assert!(older.len() + first > 2000, "log.{} was rotated too early", pair[0]);
    }
}

pub(crate) fn no_more_older_files_stay_than_were_asked_for() {
    for (keep, expected) in [("1", &[1, 0][..]), ("3", &[3, 2, 1, 0])] {
        let home = Home::new();
        run(&home, &["--rotate-bytes", "1000", "--keep", keep], 200);
        assert_eq!(home.numbers(), expected);
        check_sizes(&home, 1000);
        let texts = home.texts();
        let kept: Vec<String> = (200 - texts.len()..200).map(text).collect();
        assert_eq!(texts, kept, "the last ones, in order");
    }
}

pub(crate) fn keep_0_leaves_only_the_log() {
    let home = Home::new();
    run(&home, &["--rotate-bytes", "1000", "--keep", "0"], 100);
    assert_eq!(home.numbers(), [0]);
    check_sizes(&home, 1000);
    assert_eq!(*home.texts().last().unwrap(), text(99));
}

pub(crate) fn a_line_over_the_limit_has_a_file_of_its_own() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--rotate-bytes", "100"]);
    let client = logd.client();
    let long = "l".repeat(500);
    for message in ["a", &long, "b", "c"] {
        client.send(message.as_bytes()).unwrap();
    }
    logd.stop();
    assert_eq!(home.numbers(), [2, 1, 0]);
    let texts = |number| lines(&read(&home.log(number))).into_iter().map(|line| line.text);
    assert!(texts(2).eq(["a"]) && texts(1).eq([long]) && texts(0).eq(["b", "c"]));
}

pub(crate) fn an_unfinished_last_line_is_cut_at_the_start() {
    let line = b"2001-02-03T04:05:06.000000Z user.notice whole\n";
    for (before, half) in [
        (&line[..], &b"2001-02-03T04:05:06.000001Z user.not"[..]),
        (line, b""),
        (line, &b"x".repeat(4095)),
        (line, &b"x".repeat(4096)),
        (line, &b"x".repeat(20_000)),
        (b"", &b"x".repeat(10_000)),
        (b"", b""),
    ] {
        let home = Home::new();
        fs::write(home.log(0), [before, half].concat()).unwrap();
        let mut logd = Logd::start(&home, &[]);
        assert_eq!(read(&home.log(0)), before, "{} bytes of a half line", half.len());
        logd.client().send(b"next").unwrap();
        logd.stop();
        let texts = home.texts();
        assert_eq!(texts.len(), usize::from(!before.is_empty()) + 1);
        assert_eq!(texts.last().unwrap(), "next");
    }
}

pub(crate) fn in_line_the_files_are_the_same() {
    let contents = [&[][..], &["--inline"]].map(|how| {
        let home = Home::new();
        fs::write(home.log(0), "half a li").unwrap();
        run(&home, &[how, &["--rotate-bytes", "1500", "--keep", "4"]].concat(), 150);
        let numbers = home.numbers();
        let contents = numbers.into_iter().map(|number| {
            let lines = lines(&read(&home.log(number)));
            let known = lines.into_iter().map(|line| (line.kind, line.text));
            (number, known.collect::<Vec<_>>())
        });
        contents.collect::<Vec<_>>()
    });
    assert_eq!(contents[0].len(), 5);
    assert_eq!(contents[0], contents[1]);
}

/// A directory blocked a rename, and every second message was refused.
pub(crate) fn repro_a_rotation_that_fails_loses_no_message() {
    let home = Home::new();
    fs::create_dir_all(home.log(1).join("in the way")).unwrap();
    let mut logd = Logd::start(&home, &["--rotate-bytes", "300", "--keep", "1"]);
    let client = logd.client();
    for number in 0..50 {
        client.send(text(number).as_bytes()).unwrap();
    }
    let end = logd.stop();
    end.expect(["written", "refused"], [50, 0]);
    let texts = lines(&read(&home.log(0))).into_iter().map(|line| line.text);
    assert!(texts.eq((0..50).map(text)));
    assert_eq!(logd.said_count("cannot rotate the log"), 1, "{}", logd.said());
    assert_eq!(logd.said().lines().count(), 1, "{}", logd.said());
}

/// The message that found no `log` to rename was refused.
pub(crate) fn repro_a_log_that_was_removed_is_no_failed_rotation() {
    for keep in ["0", "2"] {
        let home = Home::new();
        let mut logd = Logd::start(&home, &["--rotate-bytes", "60", "--keep", keep]);
        let client = logd.client();
        client.send(b"gone with its file").unwrap();
        home.await_lines(1);
        fs::remove_file(home.log(0)).unwrap();
        client.send(b"next").unwrap();
        let end = logd.stop();
        end.expect(["written", "refused"], [2, 0]);
        assert_eq!(home.texts(), ["next"]);
        assert_eq!(logd.said(), "");
    }
}
