//! The container example, as users get it: its output, its status, and that it leaves nothing
//! behind.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ipc_tests::{cases, example, fds, seccomp};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

const STAGES: [&str; 5] = ["fork", "namespaces", "uid map", "set-up", "exec"];
/// The error text depends on the C library.
#[cfg(not(target_env = "musl"))]
const ON_PURPOSE: &str = "on purpose: Input/output error (os error 5)";
#[cfg(target_env = "musl")]
const ON_PURPOSE: &str = "on purpose: I/O error (os error 5)";

/// A foreign program that exits by itself.
const FOREIGN: [&str; 3] = ["sh", "-c", "exit 7"];

fn main() -> ExitCode {
    PROGRAM.set(example::build("ipc-barrier", "container")).unwrap();
    cases()
}

/// The output of a start, without the times, and its status: 128 plus the signal's number if it was
/// killed.
struct Start {
    status: i32,
    out: String,
    lines: Vec<String>,
}

impl Start {
    /// Returns whether it printed this line.
    fn said(&self, line: &str) -> bool {
        self.lines.iter().any(|said| said == line)
    }

    /// Checks that the parent reported the first `count` stages as done, and no others.
    fn expect_done(&self, count: usize) {
        for (index, name) in STAGES.iter().enumerate() {
            let line = format!("parent: stage {} ({name}) is done", index + 1);
            assert_eq!(self.said(&line), index < count, "{line}: {:#?}", self.lines);
        }
    }
}

fn start(arguments: &[&str]) -> Start {
    finish(Command::new(PROGRAM.get().unwrap()).args(arguments))
}

/// Runs it until it exits. Processes that it leaves behind become children of this process.
fn finish(command: &mut Command) -> Start {
    set_child_subreaper(Some(getpid())).unwrap();
    let output = command.stdin(Stdio::null()).output().unwrap();
    let status = output.status.code().unwrap_or_else(|| 128 + signal(&output.status));
    let lines = String::from_utf8(output.stderr).unwrap();
    let lines = lines.lines().map(|line| match line.split_once(' ') {
        Some((time, said)) if time.parse::<f64>().is_ok() => said.to_owned(),
        _ => line.to_owned(),
    });
    Start { status, out: String::from_utf8(output.stdout).unwrap(), lines: lines.collect() }
}

fn signal(status: &std::process::ExitStatus) -> i32 {
    std::os::unix::process::ExitStatusExt::signal(status).unwrap()
}

/// Checks that a start leaves neither a process nor a zombie.
fn expect_nothing_left() {
    assert_eq!(fds::children(), [], "a process is left");
}

fn it_starts_and_is_ready() {
    let start = start(&["--hostname", "inner", "--dir", "/tmp"]);
    assert_eq!(start.status, 0, "{:#?}", start.lines);
    for who in ["parent", "child"] {
        for (index, name) in STAGES.iter().enumerate().take(4) {
            assert!(start.said(&format!("{who}: stage {} ({name}) is done", index + 1)));
        }
    }
    assert!(start.said("parent: stage 5 (exec) is done"));
    assert!(start.said("program: stage 5 (exec) is done"));
    let ready = start.lines.iter().find(|line| line.starts_with("program: ready: ")).unwrap();
    assert!(ready.ends_with(", in /tmp, 0 capabilities"), "{ready}");
    // Refused steps are reported; the host's own name never changes.
    let renamed = ready.contains("host inner,");
    let refused = start.lines.iter().any(|line| line.contains("unshare of the host name"));
    assert_ne!(renamed, refused, "{:#?}", start.lines);
    expect_nothing_left();
}

fn a_program_that_knows_nothing_of_it_is_run_and_its_status_is_passed_on() {
    let program = start(&FOREIGN);
    assert_eq!(program.status, 7, "{:#?}", program.lines);
    assert!(program.said("parent: the program runs"));
    let program = start(&["sh", "-c", "echo $0; kill -9 $$", "--fail"]);
    assert_eq!((program.status, program.out.as_str()), (137, "--fail\n"));
    assert!(program.said("parent: the program has ended: killed by signal 9"));
    expect_nothing_left();
}

fn a_child_that_fails_is_reported_with_stage_and_reason() {
    for (index, name) in STAGES.iter().enumerate() {
        let stage = (index + 1).to_string();
        let failed = start(&["--fail", &stage]);
        let what = format!("stage {stage} ({name}) failed");
        assert_eq!(failed.status, 125, "{:#?}", failed.lines);
        let here = if index < 4 { "child" } else { "program" };
        let parents = format!("parent: {what} on the other side: {ON_PURPOSE}");
        assert!(failed.said(&parents), "{parents}: {:#?}", failed.lines);
        assert!(failed.said(&format!("{here}: {what} here: {ON_PURPOSE}")), "{:#?}", failed.lines);
        // An abort supersedes the previous token if the parent has not read it yet.
        let last = STAGES[index.saturating_sub(1)];
        let was_read = index > 0 && failed.said(&format!("parent: stage {index} ({last}) is done"));
        failed.expect_done(if was_read { index } else { index.saturating_sub(1) });
        expect_nothing_left();
    }
    let failed = start(&[&["--fail", "5"], &FOREIGN[..]].concat());
    assert_eq!(failed.status, 125);
    assert!(failed.said(&format!("parent: stage 5 (exec) failed on the other side: {ON_PURPOSE}")));
    expect_nothing_left();
}

fn a_parent_that_fails_is_reported_on_both_sides() {
    for (index, name) in STAGES.iter().enumerate() {
        let stage = (index + 1).to_string();
        let failed = start(&["--fail-parent", &stage]);
        let what = format!("stage {stage} ({name}) failed");
        assert_eq!(failed.status, 125, "{:#?}", failed.lines);
        assert!(failed.said(&format!("parent: {what} here: {ON_PURPOSE}")), "{:#?}", failed.lines);
        // The fifth failure arrives before or after exec.
        let there = ["child", "program"]
            .map(|who| format!("{who}: {what} on the other side: {ON_PURPOSE}"))
            .map(|line| failed.said(&line));
        assert_eq!(
            (there[0] != there[1], there[1] && index < 4),
            (true, false),
            "{:#?}",
            failed.lines
        );
        assert!(failed.said("parent: the child has ended: exited with status 125"));
        failed.expect_done(index);
        expect_nothing_left();
    }
}

fn a_child_that_dies_is_reported_with_its_stage_and_how_it_ended() {
    for (index, name) in STAGES.iter().enumerate() {
        let stage = (index + 1).to_string();
        let died = start(&["--die", &stage]);
        assert_eq!(died.status, 125, "{:#?}", died.lines);
        let gone = format!("parent: stage {stage} ({name}) failed: the peer is gone");
        assert!(died.said(&gone), "{gone}: {:#?}", died.lines);
        assert!(died.said("parent: the child has ended: killed by signal 9"));
        died.expect_done(index);
        expect_nothing_left();
    }
}

fn a_parent_that_dies_leaves_no_child() {
    for stage in ["1", "2", "3", "4", "5"] {
        let died = start(&["--die-parent", stage]);
        assert_eq!(died.status, 137, "{:#?}", died.lines);
        expect_orphans_end(stage);
    }
}

/// Checks that the orphans, now this process's children, end by themselves.
fn expect_orphans_end(what: &str) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !fds::children().is_empty() {
        assert!(Instant::now() < limit, "{what}: the child does not end");
        _ = wait(WaitOptions::NOHANG);
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn a_program_dies_with_its_parent() {
    set_child_subreaper(Some(getpid())).unwrap();
    let mut command = Command::new(PROGRAM.get().unwrap());
    let mut parent = command.args(["sleep", "100"]).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(parent.stderr.take().unwrap()).lines();
    assert!(lines.map(Result::unwrap).any(|line| line.ends_with("parent: the program runs")));
    parent.kill().unwrap();
    parent.wait().unwrap();
    expect_orphans_end("the program");
}

/// Starts a program that prints a first line, and then sends a signal to its parent.
fn signalled(signal: Signal, program: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(PROGRAM.get().unwrap());
    command.args(program).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut parent = command.spawn().unwrap();
    let mut out = BufReader::new(parent.stdout.take().unwrap());
    let mut text = String::new();
    out.read_line(&mut text).unwrap();
    assert_eq!(text, "ready\n");
    kill_process(Pid::from_child(&parent), signal).unwrap();
    text.clear();
    out.read_to_string(&mut text).unwrap();
    (parent.wait().unwrap().code(), text)
}

fn signals_are_passed_on_and_the_program_decides_what_they_mean() {
    for (signal, name) in [(Signal::HUP, "HUP"), (Signal::INT, "INT"), (Signal::TERM, "TERM")] {
        let script =
            format!("trap 'echo got it; exit 9' {name}; echo ready; while :; do sleep 0.02; done");
        let (status, text) = signalled(signal, &["sh", "-c", &script]);
        assert_eq!((status, text.as_str()), (Some(9), "got it\n"), "{name}");
        let (status, _) = signalled(signal, &["sh", "-c", "echo ready; exec sleep 600"]);
        assert_eq!(status, Some(128 + signal.as_raw()), "{name}");
    }
    // A program that ignores it continues, and so does its parent.
    let script = "trap '' TERM; echo ready; sleep 0.2; echo on; exit 5";
    assert_eq!(signalled(Signal::TERM, &["sh", "-c", script]), (Some(5), "on\n".to_owned()));
    expect_nothing_left();
}

fn a_child_that_hangs_meets_the_deadline_and_is_killed() {
    for (index, name) in STAGES.iter().enumerate() {
        let stage = (index + 1).to_string();
        let begun = Instant::now();
        let late = start(&["--stop", &stage, "--deadline", "400"]);
        assert!(begun.elapsed() >= Duration::from_millis(400));
        assert_eq!(late.status, 125, "{:#?}", late.lines);
        let passed = format!("parent: stage {stage} ({name}) failed: the deadline has passed");
        // A busy machine may be late at an earlier stage, which is reported instead.
        let reported =
            late.lines.iter().any(|line| line.ends_with("failed: the deadline has passed"));
        assert!(late.said(&passed) || reported, "{:#?}", late.lines);
        assert!(late.said("parent: the child has ended: killed by signal 9"), "{:#?}", late.lines);
        expect_nothing_left();
    }
}

fn failures_not_on_purpose_are_told_apart() {
    let long = "x".repeat(65);
    let no_dir = "set-up) failed on the other side: working directory: No such file or directory";
    let exec = "exec) failed on the other side: exec of the program:";
    for (arguments, status, what) in [
        (&["--dir", "/no/such"][..], 125, no_dir),
        (&["/no/such"], 127, exec),
        (&["/dev/null"], 126, exec),
        (&["/"], 126, exec),
    ] {
        let failed = start(arguments);
        assert_eq!(failed.status, status, "{arguments:?}: {:#?}", failed.lines);
        let reported = failed.lines.iter().any(|line| line.contains(what));
        assert!(reported, "{arguments:?}: {:#?}", failed.lines);
        expect_nothing_left();
    }
    // The kernel refuses it, if setting the name is allowed at all.
    let failed = start(&["--hostname", &long]);
    let renames = !failed.lines.iter().any(|line| line.contains("unshare of the host name"));
    assert_eq!(failed.status, if renames { 125 } else { 0 }, "{:#?}", failed.lines);
    expect_nothing_left();
}

fn where_unshare_is_refused_it_goes_on_and_says_so() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        // A filter stays for the life of the process, so the second is added to the first.
        seccomp::refuse(&[libc::SYS_unshare], errno);
        let start = start(&["--hostname", "never-the-host's"]);
        assert_eq!(start.status, 0, "{:#?}", start.lines);
        for what in ["users", "host name", "mounts"] {
            let refused = format!("child: not permitted here: unshare of the {what}: ");
            assert!(start.lines.iter().any(|line| line.starts_with(&refused)), "{refused}");
        }
        assert!(start.said("parent: no user namespace, so no uid map"));
        let ready = start.lines.iter().find(|line| line.starts_with("program: ready: ")).unwrap();
        assert!(!ready.contains("never-the-host's") && ready.ends_with(", 0 capabilities"));
        expect_nothing_left();
    }
}

fn under_a_filter_failures_are_reported_as_without() {
    // Not clone3: the C library cannot start a program without it.
    seccomp::refuse(&[libc::SYS_pidfd_open, libc::SYS_unshare], libc::EPERM);
    let failed = start(&["--fail", "5"]);
    assert_eq!(failed.status, 125);
    assert!(failed.said(&format!("parent: stage 5 (exec) failed on the other side: {ON_PURPOSE}")));
    let died = start(&["--die", "5"]);
    assert!(died.said("parent: stage 5 (exec) failed: the peer is gone"));
    assert!(died.said("parent: the child has ended: killed by signal 9"));
    expect_nothing_left();
}

fn an_ordinary_user_can_run_it() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        cases::skip("another user than this one", "run as root");
    }
    // Other users may have no access to the build folder.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("container");
    fs::copy(PROGRAM.get().unwrap(), &program).unwrap();
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        finish(command.args(arguments).current_dir("/").gid(NOBODY).uid(NOBODY))
    };
    let started = as_nobody(&[]);
    assert_eq!(started.status, 0, "{:#?}", started.lines);
    assert!(started.said("program: stage 5 (exec) is done"));
    let mapped = started.said(&format!("parent: user 0 inside is user {NOBODY} here"));
    let user = if mapped { "user 0," } else { "user 65534," };
    let ready = started.lines.iter().find(|line| line.starts_with("program: ready: ")).unwrap();
    assert!(ready.contains(user) && ready.ends_with(", 0 capabilities"), "{ready}");
    assert_eq!(as_nobody(&["--fail", "3"]).status, 125);
    seccomp::refuse(&[libc::SYS_unshare], libc::EPERM);
    let started = as_nobody(&[]);
    assert_eq!(started.status, 0, "{:#?}", started.lines);
    let ready = started.lines.iter().find(|line| line.starts_with("program: ready: ")).unwrap();
    assert!(ready.contains("user 65534,"), "{ready}");
    expect_nothing_left();
}

fn help_and_wrong_arguments_have_their_own_status() {
    let help = start(&["--help"]);
    assert_eq!((help.status, help.lines.len()), (0, 0));
    for word in ["--fail-parent", "--deadline", "125", "127"] {
        assert!(help.out.contains(word), "{word}");
    }
    for wrong in [&["--fail", "6"][..], &["--fail", "0"], &["--deadline", "0"], &["--no-such"]] {
        let start = start(wrong);
        assert_eq!((start.status, start.out.as_str()), (125, ""), "{wrong:?}");
        assert!(start.lines.last().unwrap().contains("--help"), "{wrong:?}");
    }
    // A text not produced by `export` is refused, and nothing is touched.
    let forged =
        start(&["--since", "0", "--inside", "ipc-barrier-1:page:child:3,4,5,6:0:open:open"]);
    assert_eq!(forged.status, 125, "{:#?}", forged.lines);
    expect_nothing_left();
}

ipc_tests::cases! {
    cases =
    it_starts_and_is_ready,
    a_program_that_knows_nothing_of_it_is_run_and_its_status_is_passed_on,
    a_child_that_fails_is_reported_with_stage_and_reason,
    a_parent_that_fails_is_reported_on_both_sides,
    a_child_that_dies_is_reported_with_its_stage_and_how_it_ended,
    a_parent_that_dies_leaves_no_child,
    a_program_dies_with_its_parent,
    signals_are_passed_on_and_the_program_decides_what_they_mean,
    a_child_that_hangs_meets_the_deadline_and_is_killed,
    failures_not_on_purpose_are_told_apart,
    where_unshare_is_refused_it_goes_on_and_says_so,
    under_a_filter_failures_are_reported_as_without,
    an_ordinary_user_can_run_it,
    help_and_wrong_arguments_have_their_own_status,
}
