//! A full disk: a small tmpfs in the case's own mount namespace.

#![expect(unsafe_code, reason = "a mount namespace needs a raw system call")]

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ipc_tests::cases::skip;
use rustix::process::{Signal, getgid, getuid};

use crate::daemon::Logd;
use crate::home::{Home, eventually, lines, read};
use crate::tracer::Tracer;

/// The unit in which a tmpfs allocates.
const PAGE: u64 = 4096;

/// A home whose directory is a small file system.
pub(crate) struct Small {
    pub(crate) home: Home,
}

impl Small {
    /// Mounts it, or skips the case if that is not allowed.
    pub(crate) fn new() -> Self {
        Self::with("size=128k")
    }

    /// The same, with options for mount(8).
    pub(crate) fn with(options: &str) -> Self {
        if !has_own_mounts() {
            skip("a mount namespace is not allowed here", "run as root or allow user namespaces");
        }
        let home = Home::new();
        let small = Self { home };
        if !small.mount(options) {
            drop(small);
            skip("a tmpfs cannot be mounted here", "run as root or allow user namespaces");
        }
        small
    }

    /// Mounts a file system over the directory.
    pub(crate) fn mount(&self, options: &str) -> bool {
        let arguments = ["-t", "tmpfs", "-o", options, "tmpfs"];
        let mounted = Command::new("mount").args(arguments).arg(self.home.dir()).status();
        mounted.is_ok_and(|status| status.success())
    }

    pub(crate) fn ballast(&self) -> PathBuf {
        self.home.dir().join("ballast")
    }

    /// Fills the disk, leaving `free_pages` pages free.
    pub(crate) fn fill(&self, free_pages: u64) {
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

    pub(crate) fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Best effort: the namespace ends with the case.
        _ = Command::new("umount").arg("--lazy").arg(self.home.dir()).status();
    }
}

/// Moves this process, which still has one thread, to a separate mount namespace.
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

pub(crate) fn text(number: usize) -> String {
    format!("message {number} {}", "m".repeat(3000))
}

/// Fills the disk except for one page, and sends more than fits.
pub(crate) fn send_too_much(small: &Small, logd: &Logd<'_>, count: usize) {
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
    // Long enough for two more attempts, each of which writes half a line for a moment.
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
    end.expect(keys, [15, 15, 0, 0, 0]);
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

/// The next line was appended to the half line.
pub(crate) fn repro_a_half_line_that_cannot_be_cut_at_once_is_cut_later() {
    let small = Small::new();
    Tracer::require();
    let mut logd = Logd::start(&small.home, &[]);
    let tracer = fail_cuts(&small, &logd);
    send_too_much(&small, &logd, 6);
    assert!(!read(&small.home.log(0)).ends_with(b"\n"), "the half line is there");
    let_go(&logd, tracer);
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
    // Stop it, so that it does not find the room.
    logd.signal_worker(Signal::STOP);
    small.free();
    logd.replace_worker();
    drop(tracer);
    let end = logd.stop();
    let others = (0..6).filter(|&number| number != 1).map(text);
    assert!(small.home.texts().into_iter().eq(others), "{}", logd.said());
    let keys = ["received", "written", "lost", "deaths"];
    end.expect(keys, [6, 5, 1, 1]);
    assert_eq!(logd.said_count("lost (running): message 1 "), 1, "{}", logd.said());
}

/// Makes truncation of half lines fail; the worker retries as on a full disk.
fn fail_cuts(small: &Small, logd: &Logd<'_>) -> Tracer {
    // On 32-bit machines the call has the other name.
    let inject = ["trace=ftruncate,?ftruncate64", "inject=ftruncate,?ftruncate64:error=ENOSPC"];
    Tracer::attach(&small.home, logd.worker().unwrap(), &inject)
}

/// Stops tracing the worker while it is in no system call. A call whose failure strace is injecting
/// at that moment would fail with ENOSYS.
pub(crate) fn let_go(logd: &Logd<'_>, tracer: Tracer) {
    logd.signal_worker(Signal::STOP);
    std::thread::sleep(Duration::from_millis(300));
    drop(tracer);
    logd.signal_worker(Signal::CONT);
}
