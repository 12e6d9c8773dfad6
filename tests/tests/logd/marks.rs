//! The mark in the directory that tells a start how the last daemon ended.

use std::fs;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::check::check;
use crate::daemon::{ARGUMENTS, Logd, bare_command, command};
use crate::full::Small;
use crate::home::{Home, eventually, in_words, read};
use crate::tracer::Tracer;

/// Reported both on standard error and in the log.
pub(crate) const UNCLEAN: &str = " ended uncleanly: messages may be lost";

fn has_mark(home: &Home) -> bool {
    fs::symlink_metadata(home.dir().join("running")).is_ok()
}

fn kill(logd: &mut Logd<'_>) {
    logd.signal(Signal::KILL);
    logd.await_end();
}

/// Starts a daemon, stops it, and returns its standard error.
fn start_and_stop(home: &Home) -> String {
    let mut logd = Logd::start(home, &[]);
    logd.stop();
    logd.said()
}

pub(crate) fn a_start_after_a_kill_says_so_once() {
    for arguments in [&[][..], &["--inline"]] {
        let home = Home::new();
        let mut logd = Logd::start(&home, arguments);
        let words = format!("logd: the last logd (process {}){UNCLEAN}", logd.pid());
        assert!(has_mark(&home));
        assert_eq!(read(&home.log(0)), b"");
        kill(&mut logd);
        let mut logd = Logd::start(&home, arguments);
        assert_eq!(logd.said(), format!("{words}\n"));
        let line = &home.await_lines(1)[0];
        assert_eq!((&*line.kind, &*line.text), ("syslog.warning", &*words));
        assert_eq!(check(&home).0, Some(0));
        logd.client().send(b"goes on").unwrap();
        logd.stop();
        assert!(!has_mark(&home));
        assert_eq!(start_and_stop(&home), "");
        assert_eq!(home.texts(), [&words, "goes on"]);
    }
}

pub(crate) fn another_worker_knows_the_mark_of_its_main() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    logd.replace_worker();
    logd.stop();
    assert_eq!(logd.said_count(UNCLEAN), 0, "{}", logd.said());
    assert_eq!(start_and_stop(&home), "");
}

pub(crate) fn an_end_with_something_left_is_no_clean_one() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    logd.signal_worker(Signal::STOP);
    logd.client().send(b"left").unwrap();
    logd.signal(Signal::QUIT);
    assert_eq!(logd.await_end().code(), Some(1));
    assert_eq!(start_and_stop(&home).matches(UNCLEAN).count(), 1);
}

pub(crate) fn a_worker_killed_at_the_end_leaves_no_mark() {
    Tracer::require();
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    let kill = ["trace=?unlink,?unlinkat", "inject=?unlink,?unlinkat:signal=KILL:when=1"];
    let tracer = Tracer::attach(&home, logd.worker().unwrap(), &kill);
    let end = logd.stop();
    drop(tracer);
    end.expect(["written", "lost", "deaths"], [0, 0, 1]);
    assert!(!has_mark(&home));
    assert_eq!(start_and_stop(&home), "");
}

pub(crate) fn a_second_daemon_leaves_mark_and_process_number_of_the_first() {
    let home = Home::new();
    let mut first = Logd::start(&home, &["--pid-file", "pid"]);
    let mark = fs::read_link(home.dir().join("running")).unwrap();
    let number = || fs::read_to_string(home.path("pid")).ok().filter(|text| !text.is_empty());
    let written = eventually("the number", number);
    assert_eq!(check(&home).0, Some(0));
    let second = ["--socket", "other", "--dir", "logs", "--pid-file", "pid"];
    let output = bare_command(&home, &second).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = in_words(output.stderr);
    assert!(said.contains("another process writes to the log"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(fs::read_link(home.dir().join("running")).unwrap(), mark);
    assert_eq!(number(), Some(written));
    first.stop();
    assert_eq!(first.said(), "");
    assert_eq!(start_and_stop(&home), "");
}

pub(crate) fn the_mark_goes_along_to_another_directory() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    fs::rename(home.dir(), home.path("old")).unwrap();
    fs::create_dir(home.dir()).unwrap();
    logd.signal(Signal::HUP);
    eventually("the log there", || home.log(0).exists().then_some(()));
    logd.client().send(b"there").unwrap();
    home.await_lines(1);
    assert!(has_mark(&home));
    assert!(fs::symlink_metadata(home.path("old/running")).is_err());
    // So does the lock.
    let lock = |dir: std::path::PathBuf| {
        let lock = fs::File::open(dir.join("lock")).unwrap();
        flock(lock, FlockOperation::NonBlockingLockExclusive)
    };
    assert_eq!(lock(home.dir()), Err(Errno::AGAIN));
    assert_eq!(lock(home.path("old")), Ok(()));
    logd.stop();
    assert_eq!(logd.said(), "");
    assert!(!has_mark(&home));
}

pub(crate) fn what_is_no_mark_stays_and_stops_nothing() {
    let home = Home::new();
    fs::write(home.dir().join("running"), "theirs").unwrap();
    let mut logd = Logd::start(&home, &[]);
    logd.client().send(b"goes on").unwrap();
    logd.stop();
    assert_eq!(home.texts(), ["goes on"]);
    assert_eq!(read(&home.dir().join("running")), b"theirs");
    assert_eq!(logd.said_count("cannot make the mark of a running daemon: EEXIST (17)"), 1);
    assert_eq!(logd.said().lines().count(), 1, "{}", logd.said());
}

pub(crate) fn a_start_on_a_full_disk_says_it_when_there_is_room() {
    let small = Small::new();
    let home = &small.home;
    kill(&mut Logd::start(home, &[]));
    small.fill(0);
    for _ in 0..2 {
        // Reported at each start until the log has it.
        let mut logd = Logd::start(home, &[]);
        assert_eq!(logd.said_count(UNCLEAN), 1, "{}", logd.said());
        kill(&mut logd);
    }
    let mut logd = Logd::start(home, &[]);
    logd.client().send(b"waits").unwrap();
    logd.await_said("the disk is full");
    small.free();
    home.await_lines(2);
    logd.stop();
    let texts = home.texts();
    assert!(texts[0].ends_with(UNCLEAN) && texts[1] == "waits" && texts.len() == 2, "{texts:?}");
    assert_eq!(start_and_stop(home), "");
}

/// A worker wrote its messages to a descriptor that did not exist there.
pub(crate) fn repro_an_unclean_end_is_said_on_a_pipe_too() {
    use std::io::Read;
    let home = Home::new();
    std::os::unix::fs::symlink("123.456", home.dir().join("running")).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = command(&home, &ARGUMENTS);
    let mut logd = Logd::spawn(&home, command.stderr(writer));
    drop(command);
    logd.stop();
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert!(said.contains(UNCLEAN), "{said}");
    assert_eq!(home.texts().iter().filter(|text| text.contains(UNCLEAN)).count(), 1);
}

/// It reported unwritten messages, and the next start reported possible losses.
pub(crate) fn repro_a_quick_end_with_nothing_left_is_a_clean_one() {
    for (arguments, signal) in [(&[][..], Signal::QUIT), (&["--stop-within", "0"], Signal::TERM)] {
        let home = Home::new();
        let mut logd = Logd::start(&home, arguments);
        logd.client().send(b"written").unwrap();
        home.await_lines(1);
        // Figures come each second: the next ones include the line.
        eventually("its outcome", || {
            let last = logd.figures("second").pop()?;
            (last.number("written") == 1).then_some(())
        });
        logd.signal(signal);
        logd.expect_good_end();
        assert!(!has_mark(&home));
        assert_eq!(home.said(), "");
    }
}

/// Stopping took all of `--stop-within`, and SIGQUIT did not end it.
pub(crate) fn repro_an_idle_daemon_without_its_directory_ends_soon() {
    for quit in [false, true] {
        let home = Home::new();
        let mut logd = Logd::start(&home, &["--stop-within", "600"]);
        fs::remove_dir_all(home.dir()).unwrap();
        logd.signal_worker(Signal::KILL);
        logd.await_said("cannot start a worker");
        logd.signal(Signal::TERM);
        if quit {
            logd.signal(Signal::QUIT);
        }
        assert_eq!(logd.await_end().code(), Some(0));
        assert_eq!(logd.said_count("the mark of a running daemon stays"), 1, "{}", logd.said());
    }
}

/// A second daemon could write to the same log.
pub(crate) fn repro_a_lock_that_was_removed_is_made_again() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    let lock = home.dir().join("lock");
    let is_locked = || {
        let lock = fs::File::open(&lock).ok()?;
        let tried = flock(lock, FlockOperation::NonBlockingLockExclusive);
        (tried == Err(Errno::AGAIN)).then_some(())
    };
    for by_signal in [true, false] {
        fs::remove_file(&lock).unwrap();
        if by_signal {
            logd.signal(Signal::HUP);
        } else {
            logd.replace_worker();
        }
        eventually("the lock", is_locked);
    }
    logd.stop();
}
