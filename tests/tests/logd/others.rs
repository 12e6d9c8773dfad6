//! Files changed by others: truncated, renamed, replaced, given another mode, mounted over.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ipc_tests::cases::skip;
use ipc_tests::deep;
use rustix::process::Signal;

use crate::daemon::{Logd, command};
use crate::full::let_go;
use crate::home::{Home, eventually, in_words, read};
use crate::tracer::Tracer;

fn text(number: usize) -> String {
    format!("message {number} {}", "o".repeat(80))
}

/// Sends these messages and waits until they are in the files, or were truncated with them.
fn send(logd: &Logd<'_>, numbers: std::ops::Range<usize>) {
    let client = logd.client();
    for number in numbers {
        client.send(text(number).as_bytes()).unwrap();
    }
}

/// Checks that these messages are in the files, each once and in order.
fn check(home: &Home, numbers: std::ops::Range<usize>) {
    assert!(home.texts().into_iter().eq(numbers.map(text)), "{:?}", home.texts());
}

/// It was rotated early, because the length was remembered and not queried.
pub(crate) fn repro_a_log_that_was_cut_is_not_full() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--rotate-bytes", "10000"]);
    send(&logd, 0..70);
    home.await_lines(70);
    OpenOptions::new().write(true).open(home.log(0)).unwrap().set_len(0).unwrap();
    send(&logd, 70..140);
    home.await_lines(70);
    logd.stop();
    assert_eq!(home.numbers(), [0]);
    check(&home, 70..140);
    assert_eq!(logd.said(), "");
}

pub(crate) fn a_log_cut_between_lines_has_whole_ones_only() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    for number in 0..50 {
        send(&logd, number..number + 1);
        if number % 3 == 2 {
            // A file extended between a look and a write keeps its hole, so avoid that moment.
            let last = format!("{}\n", text(number));
            eventually("the line", || read(&home.log(0)).ends_with(last.as_bytes()).then_some(()));
        }
        let file = OpenOptions::new().write(true).open(home.log(0)).unwrap();
        let len = file.metadata().unwrap().len();
        // In the middle of a line, at the start, and far beyond the end.
        file.set_len([len.min(40), 0, 1 << 33][number % 3]).unwrap();
    }
    send(&logd, 50..51);
    eventually("the last line", || read_small(&home).ends_with(b"o\n").then_some(()));
    let end = logd.stop();
    end.expect(["written"], [51]);
    assert!(!home.bytes().contains(&0), "a NUL");
    // Each of them is checked there.
    assert_eq!(home.texts().last().unwrap(), &text(50));
    assert_eq!(logd.said(), "");
}

/// Reads the log, unless it has a hole that would fill the memory.
fn read_small(home: &Home) -> Vec<u8> {
    let len = fs::metadata(home.log(0)).unwrap().len();
    if len < 1 << 20 { read(&home.log(0)) } else { Vec::new() }
}

/// The new file did not keep a mode that was changed.
pub(crate) fn repro_mode_owner_and_list_go_on_at_a_rotation() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--rotate-bytes", "1000", "--keep", "100"]);
    send(&logd, 0..1);
    home.await_lines(1);
    fs::set_permissions(home.log(0), Permissions::from_mode(0o604)).unwrap();
    let is_root = rustix::process::getuid().is_root();
    if is_root {
        std::os::unix::fs::chown(home.log(0), Some(1234), Some(4321)).unwrap();
    }
    let has_list = give_list(&home.log(0));
    let before = fs::metadata(home.log(0)).unwrap();
    send(&logd, 1..20);
    home.await_lines(20);
    // The next worker takes it from the last file.
    fs::rename(home.log(0), home.log(1)).unwrap();
    logd.replace_worker();
    eventually("a new log", || home.log(0).exists().then_some(()));
    logd.stop();
    for number in home.numbers() {
        let after = fs::metadata(home.log(number)).unwrap();
        let of = |it: &fs::Metadata| (it.mode(), it.uid(), it.gid());
        assert_eq!(of(&after), of(&before), "log.{number}");
        assert_eq!(list(&home.log(number)), list(&home.log(0)), "log.{number}");
    }
    assert_eq!(list(&home.log(0)).is_some(), has_list);
    assert!(home.numbers().len() > 2);
    assert_eq!(logd.said_count("could not be kept"), 0, "{}", logd.said());
}

const ACL: &str = "system.posix_acl_access";

/// Lets another user read the file, if the file system supports ACLs (acl(5)).
fn give_list(path: &Path) -> bool {
    let none = u32::MAX;
    let entries = [(1_u16, 6_u16, none), (2, 4, 1000), (4, 4, none), (16, 4, none), (32, 0, none)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (kind, rights, id) in entries {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(rights.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    rustix::fs::setxattr(path, ACL, &bytes, rustix::fs::XattrFlags::empty()).is_ok()
}

fn list(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = [0; 200];
    let len = rustix::fs::getxattr(path, ACL, &mut bytes[..]).ok()?;
    Some(bytes[..len].to_vec())
}

/// Lines went into a deleted file until the next rotation.
pub(crate) fn repro_a_log_that_was_removed_or_replaced_is_left_at_once() {
    for replaces in [false, true] {
        let home = Home::new();
        let mut logd = Logd::start(&home, &[]);
        send(&logd, 0..3);
        home.await_lines(3);
        if replaces {
            fs::copy(home.log(0), home.path("copy")).unwrap();
            fs::rename(home.path("copy"), home.log(0)).unwrap();
        } else {
            fs::remove_file(home.log(0)).unwrap();
        }
        send(&logd, 3..6);
        logd.stop();
        check(&home, if replaces { 0..6 } else { 3..6 });
        assert_eq!(logd.said(), "");
    }
}

/// The file was renamed by others: the daemon never renames it, and leaves it when it is full.
pub(crate) fn a_log_rotated_by_others_is_not_rotated_again() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--rotate-bytes", "2000", "--keep", "100"]);
    send(&logd, 0..10);
    home.await_lines(10);
    fs::rename(home.log(0), home.log(1)).unwrap();
    fs::write(home.log(0), "").unwrap();
    send(&logd, 10..20);
    logd.stop();
    assert_eq!(home.numbers(), [1, 0], "log.1 was full and not renamed");
    check(&home, 0..20);
    assert!(fs::metadata(home.log(0)).unwrap().len() < 2000);
    assert_eq!(logd.said(), "");
}

/// The old directory was written to for ever.
pub(crate) fn repro_sighup_goes_to_the_directory_that_has_the_path() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    send(&logd, 0..3);
    home.await_lines(3);
    fs::rename(home.dir(), home.path("old")).unwrap();
    fs::create_dir(home.dir()).unwrap();
    logd.signal(Signal::HUP);
    eventually("a log there", || home.log(0).exists().then_some(()));
    send(&logd, 3..6);
    home.await_lines(3);
    // So does the next worker.
    logd.replace_worker();
    send(&logd, 6..9);
    logd.stop();
    check(&home, 3..9);
    assert_eq!(crate::home::lines(&read(&home.path("old").join("log"))).len(), 3);
}

/// Without SIGHUP, since no log is left.
pub(crate) fn a_directory_that_was_removed_is_waited_for() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    send(&logd, 0..3);
    home.await_lines(3);
    fs::remove_dir_all(home.dir()).unwrap();
    send(&logd, 3..6);
    logd.await_said("the log cannot be written: ENOENT (2); trying again");
    fs::create_dir(home.dir()).unwrap();
    home.await_lines(3);
    logd.await_said("the log can be written again");
    logd.stop();
    check(&home, 3..6);
    assert_eq!(logd.said().lines().count(), 2, "{}", logd.said());
}

pub(crate) fn a_directory_that_comes_back_ends_the_dropping() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--when-full", "drop-new"]);
    send(&logd, 0..1);
    home.await_lines(1);
    fs::remove_dir_all(home.dir()).unwrap();
    send(&logd, 1..4);
    eventually("all to be dropped", || {
        (logd.figures("second").last()?.number("dropped") == 3).then_some(())
    });
    fs::create_dir(home.dir()).unwrap();
    send(&logd, 4..5);
    home.await_lines(2);
    logd.stop();
    let texts = home.texts();
    assert!(texts[0].ends_with("logd: 3 messages dropped: not writable (ENOENT)"), "{texts:?}");
    assert_eq!(texts[1], text(4));
}

/// A symbolic link's target was truncated.
pub(crate) fn repro_what_is_no_regular_file_is_refused_and_stays() {
    let whys = ["symbolic link", "EISDIR", "log is a FIFO", "a socket or a device", "a device"];
    for why in whys {
        let home = Home::new();
        fs::write(home.path("target"), "half a line that is precious").unwrap();
        match why {
            "symbolic link" => symlink("../target", home.log(0)).unwrap(),
            "EISDIR" => fs::create_dir(home.log(0)).unwrap(),
            "log is a FIFO" => {
                assert!(Command::new("mkfifo").arg(home.log(0)).status().unwrap().success());
            }
            "a device" => symlink("/dev/full", home.log(0)).unwrap(),
            _ => drop(UnixDatagram::bind(home.log(0)).unwrap()),
        }
        let follow: &[&str] = if why == "a device" { &["--follow-symlinks"] } else { &[] };
        let both = ["--socket", "socket", "--dir", "logs"];
        let mut child = command(&home, &[&both, follow].concat()).spawn().unwrap();
        let status = eventually("the daemon to end", || child.try_wait().unwrap());
        let said = in_words(read(&home.path("stderr")));
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(why) && said.lines().count() == 1, "{said}");
        assert_eq!(read(&home.path("target")), b"half a line that is precious");
        let kind = fs::symlink_metadata(home.log(0)).unwrap().file_type();
        assert!(kind.is_symlink() || kind.is_dir() || kind.is_fifo() || kind.is_socket());
    }
}

pub(crate) fn a_symbolic_link_is_followed_if_asked_for() {
    let home = Home::new();
    symlink("../target", home.log(0)).unwrap();
    let mut logd = Logd::start(&home, &["--follow-symlinks"]);
    send(&logd, 0..3);
    logd.stop();
    check(&home, 0..3);
    assert_eq!(crate::home::lines(&read(&home.path("target"))).len(), 3);
    assert!(fs::symlink_metadata(home.log(0)).unwrap().is_symlink());
}

/// It could not start.
pub(crate) fn repro_a_file_system_without_locks_is_used_and_said_once() {
    let home = Home::new();
    ipc_tests::seccomp::refuse(&[libc::SYS_flock], libc::ENOLCK);
    let mut logd = Logd::start(&home, &["--rotate-bytes", "1000", "--keep", "100"]);
    send(&logd, 0..40);
    home.await_lines(40);
    logd.stop();
    check(&home, 0..40);
    assert!(home.numbers().len() > 2);
    let said = in_words(read(&home.path("stderr")));
    assert_eq!(said.matches("the log is not locked").count(), 1, "{said}");
    assert!(said.contains("ENOLCK (37)"), "{said}");
}

/// Attaches strace to main before it has a worker, so that the worker is traced from the start.
fn fails_with(home: &Home, inject: &str, run: impl FnOnce(&Logd<'_>)) {
    Tracer::require();
    let mut logd = Logd::start(home, &["--rotate-bytes", "1000", "--keep", "100"]);
    let tracer = Tracer::attach_all(home, logd.pid(), &[&format!("inject={inject}")]);
    logd.replace_worker();
    run(&logd);
    drop(tracer);
    logd.stop();
}

/// Some FUSE and overlay file systems never report the same inode number twice, which made the
/// daemon loop at 100% CPU.
pub(crate) fn repro_unsteady_inode_numbers_lose_nothing() {
    let home = Home::new();
    fails_with(&home, "newfstatat:poke_exit=@arg3=0102030405060708", |logd| {
        send(logd, 0..20);
        home.await_lines(20);
        logd.signal(Signal::HUP);
        send(logd, 20..40);
        home.await_lines(40);
    });
    check(&home, 0..40);
    assert!(home.numbers().len() > 2);
    // Only the first worker's death is reported, not a log that could not be reopened.
    let said = home.said();
    assert_eq!(said.lines().count(), 1, "{said}");
}

pub(crate) fn a_disk_that_is_read_only_for_a_while_is_waited_for() {
    Tracer::require();
    let errors = ["EROFS", "EIO", "ESTALE"];
    for error in errors.into_iter().take(deep::or(1, 3)) {
        let home = Home::new();
        let mut logd = Logd::start(&home, &[]);
        send(&logd, 0..3);
        home.await_lines(3);
        let inject = ["trace=write".to_owned(), format!("inject=write:error={error}")];
        let inject = inject.each_ref().map(String::as_str);
        let tracer = Tracer::attach(&home, logd.worker().unwrap(), &inject);
        send(&logd, 3..6);
        logd.await_said(&format!("the log cannot be written: {error}"));
        // Each wait is longer than the last.
        std::thread::sleep(Duration::from_millis(1500));
        let_go(&logd, tracer);
        let trace = String::from_utf8(read(&home.path("strace"))).unwrap();
        let attempts = trace.matches("INJECTED").count();
        assert!((3..20).contains(&attempts), "{attempts} attempts");
        home.await_lines(6);
        logd.stop();
        check(&home, 0..6);
        assert_eq!(logd.said().lines().count(), 2, "{}", logd.said());
    }
}

/// A kill before any one of a rotation's renames.
pub(crate) fn a_worker_killed_amid_a_rotation_loses_only_what_was_running() {
    Tracer::require();
    for step in 1..=4 {
        let home = Home::new();
        let mut logd = Logd::start(&home, &["--rotate-bytes", "1000", "--keep", "100"]);
        send(&logd, 0..30);
        home.await_lines(30);
        let kill = format!("inject=?rename,?renameat,?renameat2:signal=KILL:when={step}");
        let expressions = ["trace=?rename,?renameat,?renameat2", kill.as_str()];
        let tracer = Tracer::attach(&home, logd.worker().unwrap(), &expressions);
        send(&logd, 30..60);
        logd.await_said("the worker ended: killed by signal 9");
        drop(tracer);
        let end = logd.stop();
        let lost = logd.said_count("lost (running)");
        assert!(lost <= 1, "{}", logd.said());
        end.expect(["lost"], [lost as u64]);
        // A kill leaves a gap in the numbers, but the order stays.
        let texts = home.texts();
        assert_eq!(texts.len() + lost, 60, "{}", logd.said());
        let mut all = (0..60).map(text);
        assert!(texts.iter().all(|text| all.any(|it| it == *text)), "out of order: {texts:?}");
    }
}

/// Half lines cannot be truncated and files cannot be renamed, but whole lines are still written.
pub(crate) fn an_append_only_log_grows_on() {
    let home = Home::new();
    fs::write(home.log(0), "half").unwrap();
    let set = |how| Command::new("chattr").arg(how).arg(home.log(0)).status();
    if !set("+a").is_ok_and(|status| status.success()) {
        skip("chattr +a is not possible here", "run as root on ext4, apt install e2fsprogs");
    }
    let mut logd = Logd::start(&home, &["--rotate-bytes", "1000"]);
    send(&logd, 0..40);
    eventually("40 lines", || {
        (read(&home.log(0)).iter().filter(|&&byte| byte == b'\n').count() == 41).then_some(())
    });
    logd.stop();
    let numbers = home.numbers();
    let bytes = read(&home.log(0));
    assert!(set("-a").unwrap().success());
    assert_eq!(numbers, [0]);
    let whole = crate::home::lines(bytes.strip_prefix(b"half\n").unwrap());
    assert!(whole.into_iter().map(|line| line.text).eq((0..40).map(text)));
    assert_eq!(logd.said_count("half a line stays"), 1, "{}", logd.said());
    assert_eq!(logd.said_count("cannot rotate the log, so it grows: EPERM"), 1, "{}", logd.said());
}

/// The reason was reported only once.
pub(crate) fn a_restart_that_fails_says_why_each_time_that_changes() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    send(&logd, 0..1);
    home.await_lines(1);
    fs::rename(home.log(0), home.path("old")).unwrap();
    fs::create_dir(home.log(0)).unwrap();
    logd.signal_worker(Signal::KILL);
    logd.await_said("open log: cannot open the log in --dir: EISDIR");
    fs::remove_dir(home.log(0)).unwrap();
    symlink("/nowhere", home.log(0)).unwrap();
    logd.await_said("open log: log is a symbolic link");
    fs::remove_file(home.log(0)).unwrap();
    send(&logd, 1..3);
    home.await_lines(2);
    logd.stop();
    check(&home, 1..3);
    assert_eq!(logd.said_count("cannot start a worker"), 2, "{}", logd.said());
}

pub(crate) fn a_half_line_of_others_is_cut_and_a_whole_one_stays() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    send(&logd, 0..1);
    home.await_lines(1);
    let mut other = OpenOptions::new().append(true).open(home.log(0)).unwrap();
    other.write_all(b"2001-02-03T04:05:06.000000Z user.notice theirs\nhalf").unwrap();
    send(&logd, 1..2);
    logd.stop();
    assert_eq!(home.texts(), [text(0), "theirs".to_owned(), text(1)]);
}
