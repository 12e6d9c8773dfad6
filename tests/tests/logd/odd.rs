//! Unusual systems: root without capabilities, a read-only disk, an empty /dev, no vDSO.

#![expect(unsafe_code, reason = "a supervisor's set-up between fork and exec")]

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use ipc_tests::around::{self, proc};
use ipc_tests::cases::{leave_out, skip};
use ipc_tests::ptrace;
use rustix::fs::StatVfsMountFlags;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::daemon::{ARGUMENTS, Logd, bare_command, command, is_tiny};
use crate::home::{Home, eventually};

/// Starts a new file after ten messages.
const ROTATING: [&str; 4] = ["--rotate-bytes", "1000", "--keep", "100"];

fn text(number: u32) -> String {
    format!("message {number} {}", "o".repeat(80))
}

/// Sends messages with these numbers, and waits until they are written.
fn write(home: &Home, logd: &Logd<'_>, numbers: std::ops::Range<u32>) {
    let count = home.texts().len() + numbers.len();
    let start = numbers.start;
    logd.send(|number| text(start + number), numbers.end - start);
    home.await_lines(count);
}

fn check(home: &Home, count: u32) {
    assert!(home.texts().into_iter().eq((0..count).map(text)), "{:?}", home.texts());
}

/// Starts the daemon, writes, rotates, restarts the worker and stops.
fn runs(home: &Home, mut command: Command) {
    let mut logd = Logd::spawn(home, command.args(ROTATING));
    write(home, &logd, 0..20);
    logd.replace_worker();
    write(home, &logd, 20..40);
    logd.stop();
    check(home, 40);
    assert!(home.numbers().len() > 2);
    // A kill may come between the write and the reply.
    let is_expected =
        |line: &str| line.contains("killed by") || line.contains("perhaps not synced");
    assert!(logd.said().lines().all(is_expected), "{}", logd.said());
}

/// Skips a case that needs root.
fn need_root() {
    if !rustix::process::geteuid().is_root() {
        skip("a user without capabilities, and files of others", "run as root");
    }
}

/// Changes a daemon's surroundings before it is executed.
fn around(command: &mut Command, change: fn() -> io::Result<()>) {
    // SAFETY: this process has one thread, so the child may call anything.
    unsafe { command.pre_exec(change) };
}

/// Root gets the capabilities in its bounding set, or inherited ones (capabilities(7)).
fn drop_capabilities() -> io::Result<()> {
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // This kernel has no such capability.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    Ok(rustix::thread::set_capabilities(None, none)?)
}

fn without_capabilities(home: &Home) -> Command {
    need_root();
    let mut command = command(home, &ARGUMENTS);
    around(&mut command, drop_capabilities);
    command
}

/// Expects a daemon without capabilities to fail with a one-line error, and to leave nothing
/// behind.
fn fails(home: &Home, arguments: &[&str], why: &str) {
    let said = Logd::try_spawn(home, without_capabilities(home).args(arguments)).err();
    let said = said.unwrap_or_else(|| panic!("it runs instead of: {why}"));
    assert_eq!(said, format!("logd: {why}\n"));
    for left in ["socket", "pid", "other/socket", "other/pid", "logs/running"] {
        assert!(fs::symlink_metadata(home.path(left)).is_err(), "{left} stays: {why}");
    }
}

pub(crate) fn root_without_capabilities_is_enough() {
    let home = Home::new();
    let mut command = without_capabilities(&home);
    command.args(["--pid-file", "pid"]);
    let mut logd = Logd::spawn(&home, &mut command);
    for pid in [logd.pid(), logd.worker().unwrap()] {
        let status = fs::read_to_string(proc(&format!("{pid}/status"))).unwrap();
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd"] {
            assert!(status.contains(&format!("{set}:\t0000000000000000\n")), "{status}");
        }
    }
    logd.stop();
    assert!(!home.path("pid").exists());
    runs(&home, without_capabilities(&home));
}

pub(crate) fn root_without_capabilities_cannot_become_another_user() {
    let home = Home::new();
    let arguments = ["--user", "65534", "--group", "65533", "--pid-file", "pid"];
    fails(&home, &arguments, "--user, --group: stage ids: setgroups: EPERM (1)");
    assert_eq!(home.numbers(), []);
}

pub(crate) fn root_without_capabilities_may_not_use_what_is_anothers() {
    need_root();
    let give = |path: &Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        chown(path, Some(65_534), Some(65_533)).unwrap();
    };
    for (mode, why) in [(0o700, "EACCES (13)"), (0o755, "lock: EACCES (13)")] {
        let home = Home::new();
        give(&home.dir(), mode);
        fails(&home, &[], &format!("--dir logs: {why}"));
    }
    let no_log = "the worker's set-up failed: stage open log: cannot open the log in --dir";
    for (name, why) in [("lock", "lock"), ("log", no_log)] {
        let home = Home::new();
        fs::write(home.dir().join(name), "kept\n").unwrap();
        give(&home.dir().join(name), 0o600);
        fails(&home, &[], &format!("--dir logs: {why}: EACCES (13)"));
        assert_eq!(fs::read(home.dir().join(name)).unwrap(), b"kept\n");
    }
    let home = Home::new();
    fs::create_dir(home.path("other")).unwrap();
    give(&home.path("other"), 0o755);
    fails(&home, &["--pid-file", "other/pid"], "--pid-file other/pid: EACCES (13)");
    fails(&home, &["--socket", "other/socket"], "--socket other/socket: EACCES (13)");
}

/// Until it is given back, nothing can be renamed or created there.
pub(crate) fn a_directory_that_is_given_away_and_back_loses_nothing() {
    let home = Home::new();
    let mut logd = Logd::spawn(&home, without_capabilities(&home).args(ROTATING));
    write(&home, &logd, 0..20);
    let before = home.numbers();
    assert!(before.len() > 1);
    chown(home.dir(), Some(65_534), Some(65_533)).unwrap();
    write(&home, &logd, 20..40);
    logd.replace_worker();
    write(&home, &logd, 40..60);
    assert_eq!(home.numbers(), before, "nothing was renamed");
    assert!(logd.said_count("EACCES (13)") > 0, "{}", logd.said());
    chown(home.dir(), Some(0), Some(0)).unwrap();
    eventually("a rotation", || {
        let count = u32::try_from(home.texts().len()).unwrap();
        write(&home, &logd, count..count + 1);
        (home.numbers().len() > before.len()).then_some(())
    });
    logd.stop();
    check(&home, u32::try_from(home.texts().len()).unwrap());
    assert!(fs::symlink_metadata(home.dir().join("running")).is_err());
}

pub(crate) fn a_read_only_root_is_enough() {
    if let Err(error) = around::be_read_only() {
        skip(&format!("a read-only root: {error}"), "run as root");
    }
    let flags = rustix::fs::statvfs("/").unwrap().f_flag;
    assert!(flags.contains(StatVfsMountFlags::RDONLY));
    let home = Home::new();
    let command = command(&home, &ARGUMENTS);
    runs(&home, command);
}

pub(crate) fn without_any_device_it_runs() {
    need_root();
    let home = Home::new();
    let mut command = command(&home, &ARGUMENTS);
    around(&mut command, around::hide_dev);
    runs(&home, command);
}

fn close_streams_without_dev() -> io::Result<()> {
    around::hide_dev()?;
    for fd in 0..3 {
        // SAFETY: the program is about to be executed, and nothing uses them before.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// The directory got the number of standard error.
pub(crate) fn repro_with_closed_streams_and_no_device_its_words_go_into_no_file() {
    if !is_tiny() {
        leave_out("the standard library ends a program that can open nothing at 0 to 2");
    }
    need_root();
    let home = Home::new();
    let mut command = bare_command(&home, &ARGUMENTS);
    around(&mut command, close_streams_without_dev);
    let mut logd = Logd::spawn(&home, &mut command);
    write(&home, &logd, 0..1);
    let target = |fd| fs::read_link(proc(&format!("{}/fd/{fd}", logd.pid()))).unwrap();
    assert_eq!([0, 1, 2].map(target), ["/"; 3].map(Path::new), "not writable");
    logd.replace_worker();
    write(&home, &logd, 1..2);
    logd.stop();
    check(&home, 2);
}

/// In the test's own /dev, so that the socket belongs to nothing else.
pub(crate) fn dev_log_is_made_where_there_is_none() {
    if let Err(error) = around::leave_little_of_dev() {
        skip(&format!("a small /dev: {error}"), "run as root");
    }
    let home = Home::new();
    let log = Path::new("/dev/log");
    assert!(!log.exists());
    symlink(log, home.socket()).unwrap();
    let command = command(&home, &[&ARGUMENTS[..], &["--socket", "/dev/log"]].concat());
    runs(&home, command);
    assert!(!log.exists());
}

/// Lets the parent change the program before its first instruction.
fn be_traced() -> io::Result<()> {
    match ptrace::trace(ptrace::TRACEME, 0, 0, 0) {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Like a machine whose kernel maps no code for the clock (vdso(7)).
pub(crate) fn without_a_vdso_the_time_is_asked_of_the_kernel() {
    let home = Home::new();
    let mut command = command(&home, &[&ARGUMENTS[..], &ROTATING].concat());
    around(&mut command, be_traced);
    let start = humantime::format_rfc3339_micros(std::time::SystemTime::now()).to_string();
    let mut logd = Logd::try_spawn_with(&home, &mut command, |child| {
        let pid = i32::try_from(child.id()).unwrap();
        assert!(libc::WIFSTOPPED(ptrace::wait(pid)), "it stops at its first instruction");
        hide_vdso(pid);
        ptrace::trace(ptrace::DETACH, pid, 0, 0);
    })
    .unwrap();
    write(&home, &logd, 0..20);
    logd.stop();
    check(&home, 20);
    let end = humantime::format_rfc3339_micros(std::time::SystemTime::now()).to_string();
    let times: Vec<String> = home.lines().into_iter().map(|line| line.time).collect();
    assert!(times.iter().all(|time| (&start..=&end).contains(&time)), "{start} {times:?} {end}");
}

/// Removes the vDSO's address from the stack that the kernel prepared for a new program
/// (getauxval(3)).
fn hide_vdso(pid: i32) {
    const AT_IGNORE: usize = 1;
    let maps = fs::read_to_string(proc(&format!("{pid}/maps"))).unwrap();
    let place = |name| {
        let line = maps.lines().find(|line| line.ends_with(name)).unwrap();
        let (from, rest) = line.split_once('-').unwrap();
        let to = rest.split(' ').next().unwrap();
        [from, to].map(|number| usize::from_str_radix(number, 16).unwrap())
    };
    let ([vdso, _], [from, to]) = (place("[vdso]"), place("[stack]"));
    let memory = File::options().read(true).write(true).open(proc(&format!("{pid}/mem"))).unwrap();
    let mut stack = vec![0; to - from];
    memory.read_exact_at(&mut stack, from as u64).unwrap();
    let key = usize::try_from(libc::AT_SYSINFO_EHDR).unwrap();
    let entry = [key, vdso].map(usize::to_ne_bytes).concat();
    let at = from + stack.windows(entry.len()).position(|bytes| bytes == entry).unwrap();
    memory.write_all_at(&AT_IGNORE.to_ne_bytes(), at as u64).unwrap();
}
