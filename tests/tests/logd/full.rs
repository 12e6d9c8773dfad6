//! A full disk: a small tmpfs in a mount namespace of the case's own.

#![expect(unsafe_code, reason = "a mount namespace is a system call away")]

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ipc_tests::cases::skip;
use rustix::process::{Resource, Rlimit, Signal, getgid, getuid, setrlimit};

use crate::daemon::Logd;
use crate::home::{Home, eventually, lines, read};
use crate::tracer::Tracer;

/// Bytes that a tmpfs gives at once.
const PAGE: u64 = 4096;

/// A home whose directory is a file system with little room.
struct Small {
    home: Home,
}

impl Small {
    /// Mounts it, or ends the case where that is not allowed.
    fn new() -> Self {
        if !has_own_mounts() {
            skip("a mount namespace is not allowed here", "run as root or allow user namespaces");
        }
        let home = Home::new();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"])
            .arg(home.dir())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            drop(home);
            skip("a tmpfs cannot be mounted here", "run as root or allow user namespaces");
        }
        Self { home }
    }

    fn ballast(&self) -> PathBuf {
        self.home.dir().join("ballast")
    }

    /// Fills the disk up to the last byte, but for so many pages.
    fn fill(&self, free_pages: u64) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let error = loop {
            if let Err(error) = ballast.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        let len = ballast.metadata().unwrap().len();
        ballast.set_len(len - free_pages * PAGE).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Best effort: the namespace goes with the case.
        _ = Command::new("umount").arg("--lazy").arg(self.home.dir()).status();
    }
}

/// Moves this process, which still has one thread, to mounts of its own.
fn has_own_mounts() -> bool {
    let (user, group) = (getuid(), getgid());
    // SAFETY: no memory is involved; the process belongs to this case alone.
    let is_root = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
    if !is_root {
        // SAFETY: as above.
        if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) } != 0 {
            return false;
        }
        let maps = [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("0 {user} 1")),
            ("gid_map", format!("0 {group} 1")),
        ];
        for (name, text) in maps {
            let file = OpenOptions::new().write(true).open(format!("/proc/self/{name}"));
            if file.and_then(|mut file| file.write_all(text.as_bytes())).is_err() {
                return false;
            }
        }
    }
    let private = Command::new("mount").args(["--make-rprivate", "/"]).status();
    private.is_ok_and(|status| status.success())
}

fn text(number: usize) -> String {
    format!("message {number} {}", "m".repeat(3000))
}

/// Fills the disk but for a page, and sends more than there is room for.
fn send_too_much(small: &Small, logd: &Logd<'_>, count: usize) {
    small.fill(1);
    let client = logd.client();
    for number in 0..count {
        client.send(text(number).as_bytes()).unwrap();
    }
    logd.await_said("the disk is full");
}

fn check_all(small: &Small, logd: &Logd<'_>, count: usize) {
    assert!(small.home.texts().into_iter().eq((0..count).map(text)), "once and in order");
    assert_eq!(logd.said_count("the disk is full"), 1, "{}", logd.said());
    assert_eq!(logd.said_count("there is room on the disk again"), 1, "{}", logd.said());
    assert_eq!(logd.said().lines().count(), 2, "{}", logd.said());
}

pub(crate) fn a_full_disk_is_waited_for_and_loses_nothing() {
    let small = Small::new();
    let mut logd = Logd::start(&small.home, &[]);
    send_too_much(&small, &logd, 15);
    // More than two further attempts, each of which writes a half line for a moment.
    std::thread::sleep(Duration::from_millis(2500));
    eventually("only whole lines", || {
        let bytes = read(&small.home.log(0));
        bytes.ends_with(b"\n").then_some(bytes)
    });
    small.free();
    small.home.await_lines(15);
    logd.await_said("there is room on the disk again");
    let end = logd.stop();
    check_all(&small, &logd, 15);
    let keys = ["received", "written", "lost", "refused", "deaths"];
    assert_eq!(keys.map(|key| end.number(key)), [15, 15, 0, 0, 0]);
}

pub(crate) fn sigterm_on_a_full_disk_waits_for_room() {
    let small = Small::new();
    let mut logd = Logd::start(&small.home, &["--rotate-bytes", "5000", "--keep", "100"]);
    send_too_much(&small, &logd, 8);
    logd.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(200));
    assert!(logd.is_running(), "{}", logd.said());
    small.free();
    logd.expect_good_end();
    check_all(&small, &logd, 8);
}

/// The next lines were glued to the half one.
pub(crate) fn repro_a_half_line_that_cannot_be_cut_at_once_is_cut_later() {
    let small = Small::new();
    Tracer::require();
    let mut logd = Logd::start(&small.home, &[]);
    let tracer = fail_cuts(&small, &logd);
    send_too_much(&small, &logd, 6);
    assert!(!read(&small.home.log(0)).ends_with(b"\n"), "the half line is there");
    drop(tracer);
    small.free();
    small.home.await_lines(6);
    logd.stop();
    assert_eq!(lines(&read(&small.home.log(0))).len(), 6);
    check_all(&small, &logd, 6);
}

pub(crate) fn a_half_line_of_a_killed_worker_is_cut_by_the_next() {
    let small = Small::new();
    Tracer::require();
    let mut logd = Logd::start(&small.home, &[]);
    let tracer = fail_cuts(&small, &logd);
    send_too_much(&small, &logd, 6);
    assert!(!read(&small.home.log(0)).ends_with(b"\n"), "the half line is there");
    // Stopped, so that it does not find the room.
    logd.signal_worker(Signal::STOP);
    small.free();
    logd.replace_worker();
    drop(tracer);
    let end = logd.stop();
    let others = (0..6).filter(|&number| number != 1).map(text);
    assert!(small.home.texts().into_iter().eq(others), "{}", logd.said());
    let keys = ["received", "written", "lost", "deaths"];
    assert_eq!(keys.map(|key| end.number(key)), [6, 5, 1, 1], "{}", logd.said());
    assert_eq!(logd.said_count("lost (running): message 1 "), 1, "{}", logd.said());
}

/// Lets no half line be cut; the worker tries again as on a full disk.
fn fail_cuts(small: &Small, logd: &Logd<'_>) -> Tracer {
    let inject = ["trace=ftruncate", "inject=ftruncate:error=ENOSPC"];
    Tracer::attach(&small.home, logd.worker().unwrap(), &inject)
}

/// The worker was killed by SIGXFSZ at each line, until the messages were lost.
pub(crate) fn repro_a_limit_on_the_size_of_files_is_a_reason_to_rotate() {
    limit_files(5000);
    for arguments in [&[][..], &["--inline"]] {
        let home = Home::new();
        let mut logd = Logd::start(&home, arguments);
        let client = logd.client();
        for number in 0..4 {
            client.send(text(number).as_bytes()).unwrap();
        }
        let end = logd.stop();
        assert_eq!(["written", "deaths"].map(|key| end.number(key)), [4, 0], "{}", logd.said());
        assert!(home.texts().into_iter().eq((0..4).map(text)), "once and in order");
        assert_eq!(home.numbers(), [3, 2, 1, 0]);
        assert!(logd.said().starts_with("logd: rotated at 3"), "{}", logd.said());
        assert!(logd.said().contains("EFBIG (27)"), "{}", logd.said());
        assert_eq!(logd.said().lines().count(), 1, "{}", logd.said());
    }
}

/// Nothing is gained by a new file then, and each older one would be lost for it.
pub(crate) fn a_line_over_the_limit_on_files_rotates_nothing() {
    limit_files(1000);
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--when-full", "drop-oldest"]);
    let client = logd.client();
    for number in 0..10 {
        client.send(text(number).as_bytes()).unwrap();
        client.send(format!("short {number}").as_bytes()).unwrap();
    }
    let end = logd.stop();
    assert_eq!(["written", "dropped"].map(|key| end.number(key)), [10, 10], "{}", logd.said());
    let texts = home.texts();
    for number in 0..10 {
        assert!(texts.contains(&format!("short {number}")), "{texts:?}");
    }
}

fn limit_files(bytes: u64) {
    // For this case's process, and for all that it starts.
    setrlimit(Resource::Fsize, Rlimit { current: Some(bytes), maximum: None }).unwrap();
}

/// Returns the texts of the daemon's own lines, without a priority in front.
fn own_words(small: &Small) -> Vec<String> {
    let own = small.home.lines().into_iter().filter(|line| line.kind == "syslog.warning");
    own.map(|line| line.text[line.text.find("logd: ").unwrap()..].to_owned()).collect()
}

pub(crate) fn drop_new_counts_in_the_log_what_was_dropped() {
    for arguments in [&["--when-full", "drop-new"][..], &["--when-full", "drop-new", "--inline"]] {
        let small = Small::new();
        let mut logd = Logd::start(&small.home, arguments);
        send_too_much(&small, &logd, 15);
        let client = logd.client();
        let before = small.home.lines().len();
        assert!((1..15).contains(&before), "{before}");
        // Until it has dropped the last one, which is shown by nothing else.
        eventually("all to be dropped", || {
            let dropped = logd.figures("second").last()?.number("dropped");
            (usize::try_from(dropped).unwrap() + before == 15).then_some(())
        });
        small.free();
        client.send(text(15).as_bytes()).unwrap();
        small.home.await_lines(before + 2);
        client.send(text(16).as_bytes()).unwrap();
        let end = logd.stop();
        let dropped = 15 - before;
        assert_eq!(
            own_words(&small),
            [format!("logd: {dropped} messages dropped: no room (ENOSPC)")]
        );
        let messages: Vec<String> =
            small.home.texts().into_iter().filter(|text| text.starts_with("message")).collect();
        assert!(messages.into_iter().eq((0..before).chain([15, 16]).map(text)));
        let counts = ["received", "written", "dropped", "lost", "refused"];
        let dropped = u64::try_from(dropped).unwrap();
        assert_eq!(counts.map(|key| end.number(key)), [17, 17 - dropped, dropped, 0, 0]);
        assert_eq!(logd.said_count("the disk is full: ENOSPC (28); dropping messages"), 1);
        assert_eq!(logd.said_count("there is room on the disk again"), 1);
        assert_eq!(logd.said().lines().count(), 2, "{}", logd.said());
    }
}

pub(crate) fn drop_oldest_removes_the_oldest_file_and_then_drops() {
    let small = Small::new();
    let arguments = ["--when-full", "drop-oldest", "--rotate-bytes", "8000", "--keep", "100"];
    let mut logd = Logd::start(&small.home, &arguments);
    let client = logd.client();
    for number in 0..10 {
        client.send(text(number).as_bytes()).unwrap();
    }
    small.home.await_lines(10);
    let numbers = small.home.numbers();
    assert_eq!(numbers, [4, 3, 2, 1, 0]);
    let others = ["log.07", "log.8.gz", "log.old"].map(|name| small.home.dir().join(name));
    others.iter().for_each(|path| drop(File::create(path).unwrap()));
    small.fill(0);
    client.send(text(10).as_bytes()).unwrap();
    eventually("the oldest file to go", || small.home.texts().contains(&text(10)).then_some(()));
    assert!(!small.home.texts().contains(&text(0)), "the oldest is gone");
    assert!(small.home.texts().contains(&text(4)), "and no other one");
    // What it has given back goes to others, over and over, until nothing older is left.
    for number in 11.. {
        let mut ballast = OpenOptions::new().append(true).open(small.ballast()).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
        client.send(text(number).as_bytes()).unwrap();
        if logd.said_count("dropping messages") > 0 {
            break;
        }
        assert!(number < 1000);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!((1..20).all(|number| !small.home.log(number).exists()), "{:?}", small.home.numbers());
    assert!(others.iter().all(|path| path.exists()), "a file that is not the daemon's is gone");
    small.free();
    client.send(b"the last").unwrap();
    eventually("room", || small.home.texts().contains(&"the last".to_owned()).then_some(()));
    let end = logd.stop();
    assert!(end.number("dropped") > 0);
    assert_eq!([end.number("lost"), end.number("refused")], [0, 0], "{}", logd.said());
    let words = own_words(&small);
    assert!(words.last().unwrap().contains("dropped: no room (ENOSPC)"), "{words:?}");
}

pub(crate) fn a_worker_that_is_killed_while_it_drops_tells_the_next() {
    let small = Small::new();
    let mut logd = Logd::start(&small.home, &["--when-full", "drop-new"]);
    send_too_much(&small, &logd, 15);
    let before = u64::try_from(small.home.lines().len()).unwrap();
    eventually("all to be dropped", || {
        (logd.figures("second").last()?.number("dropped") + before == 15).then_some(())
    });
    logd.replace_worker();
    small.free();
    logd.client().send(b"the last").unwrap();
    let end = logd.stop();
    assert_eq!(end.number("dropped"), 15 - before);
    let count = 15 - before;
    assert_eq!(own_words(&small), [format!("logd: {count} messages dropped: no room (ENOSPC)")]);
}

pub(crate) fn what_was_dropped_and_not_counted_is_said_at_the_end() {
    let small = Small::new();
    let mut logd = Logd::start(&small.home, &["--when-full", "drop-new"]);
    send_too_much(&small, &logd, 15);
    let end = logd.stop();
    assert_eq!(end.number("written") + end.number("dropped"), 15);
    let words = format!("dropped and not counted in the log: {}, ENOSPC", end.number("dropped"));
    assert_eq!(logd.said_count(&words), 1, "{}", logd.said());
}

pub(crate) fn quota_is_a_full_disk_and_other_trouble_drops_after_a_while() {
    Tracer::require();
    for (error, what) in [("EDQUOT", "no room"), ("EIO", "not writable")] {
        let home = Home::new();
        let mut logd = Logd::start(&home, &["--when-full", "drop-new"]);
        let client = logd.client();
        let inject = ["trace=write".to_owned(), format!("inject=write:error={error}")];
        let inject = inject.each_ref().map(String::as_str);
        let tracer = Tracer::attach(&home, logd.worker().unwrap(), &inject);
        for number in 0..5 {
            client.send(text(number).as_bytes()).unwrap();
        }
        eventually("all to be dropped", || {
            (logd.figures("second").last()?.number("dropped") == 5).then_some(())
        });
        drop(tracer);
        client.send(b"the last").unwrap();
        logd.stop();
        let texts = home.texts();
        let own = format!("logd: 5 messages dropped: {what} ({error})");
        assert!(
            texts.len() == 2 && texts[0].ends_with(&own) && texts[1] == "the last",
            "{texts:?}"
        );
    }
}
