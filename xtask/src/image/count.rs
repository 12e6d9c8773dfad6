//! Tests of `count.awk`, which decides in the image whether every message is there once.

use std::{fs, process::Command};

use crate::tools;

const SCRIPT: &str = include_str!("count.awk");
const DEATHS: &str = "logd: the worker ended: killed by signal 9 (1)\n\
                      logd: the worker ended: killed by signal 9 (2)\n";

fn line(number: u32) -> String {
    format!("2026-11-27T10:20:30.000001Z user.notice line: {number}\n")
}

fn lines(numbers: impl IntoIterator<Item = u32>) -> String {
    numbers.into_iter().map(line).collect()
}

/// The image's awk, if it is installed, and this system's awk.
fn awks() -> Vec<Command> {
    let mut busybox = Command::new("busybox");
    busybox.arg("awk");
    let has_busybox = tools::output(Command::new("busybox").args(["awk", "BEGIN {}"])).is_some();
    if !has_busybox {
        eprintln!("skipped: busybox's awk (install with: apt-get install busybox-static)");
    }
    [Command::new("awk")].into_iter().chain(has_busybox.then_some(busybox)).collect()
}

/// Runs the script on a daemon's stderr and two files that should hold 100 lines.
fn count(stderr: &str, older: &str, newer: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("stderr", stderr), ("log.1", older), ("log", newer)] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let run = |mut awk: Command| {
        awk.args(["-v", "sent=100", "-v", "kills=2", SCRIPT, "stderr", "log.1", "log"]);
        let output = awk.current_dir(folder.path()).output().expect("awk is needed");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let counts: Vec<(bool, String)> = awks().into_iter().map(run).collect();
    assert!(counts.windows(2).all(|pair| pair[0] == pair[1]), "{counts:?}");
    counts[0].clone()
}

#[test]
fn every_line_once_passes() {
    let (passed, said) = count(DEATHS, &lines(1..=60), &lines(61..=100));
    assert!(passed, "{said}");
    let summary = "self-test: 100 of 100 lines are in the files, 0 named lost, 2 workers ended\n";
    assert!(said.ends_with(summary), "{said}");
}

#[test]
fn line_may_have_the_time_of_its_client() {
    let late = line(61).replace("line", "Nov  7 10:20:27 line");
    let (passed, said) = count(DEATHS, &lines(1..=60), &(late + &lines(62..=100)));
    assert!(passed, "{said}");
}

#[test]
fn line_that_was_running_at_a_kill_may_be_there_or_not() {
    let stderr = format!("logd: lost (running): line: 7\nlogd: lost (running): line: 9\n{DEATHS}");
    let written = (1..=100).filter(|&number| number != 7);
    let (passed, said) = count(&stderr, "", &lines(written));
    assert!(passed, "{said}");
    assert!(said.contains("99 of 100 lines are in the files, 2 named lost"), "{said}");
}

#[test]
fn written_line_that_was_named_as_perhaps_not_synced_must_be_there() {
    let stderr = format!("logd: written but perhaps not synced: line: 7\n{DEATHS}");
    assert!(count(&stderr, "", &lines(1..=100)).0);
    fails(&stderr, &lines((1..=100).filter(|&number| number != 7)), "not named lost: 7");
}

#[test]
fn each_fault_fails() {
    let all = || lines(1..=100);
    let without_7 = lines((1..=100).filter(|&number| number != 7));
    fails(DEATHS, &without_7, "missing and not named lost: 7");
    fails(DEATHS, &(all() + &line(12)), "more than once in the files: 12");
    fails(DEATHS, &(all() + &line(101)), "in the files but never sent: 101");
    fails(DEATHS, &(all() + "2026-11-27T10:20:30Z user.noti\n"), "not a whole line:");
    let two_in_one =
        without_7.replace("line: 8\n", "line: 72026-11-27T10:20:30Z user.notice line: 8\n");
    fails(DEATHS, &two_in_one, "not a whole line:");
    fails("logd: the worker ended: killed by signal 9 (1)\n", &all(), "1 workers ended and not 2");
    let named: String =
        (1..=3).map(|number| format!("logd: lost (running): line: {number}\n")).collect();
    fails(&(named + DEATHS), &all(), "3 lines named lost");
}

fn fails(stderr: &str, log: &str, why: &str) {
    let (passed, said) = count(stderr, "", log);
    assert!(!passed && said.contains("\nself-test: failed: ") && said.contains(why), "{said}");
}
