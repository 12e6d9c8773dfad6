//! What init systems expect.

#![expect(unsafe_code, reason = "a supervisor's set-up between fork and exec")]

use std::fs;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use ipc_tests::around::proc;
use ipc_tests::cases::skip;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::daemon::{ARGUMENTS, Logd, command, is_tiny};
use crate::home::{Home, eventually, in_words, read};

/// It continued for a minute, and then everything was lost.
pub(crate) fn repro_a_worker_that_is_stopped_writes_all_at_the_end() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    logd.signal_worker(Signal::STOP);
    logd.send(|number| format!("held {number}"), 500);
    for _ in 0..3 {
        logd.signal(Signal::TERM);
    }
    let end = logd.expect_good_end();
    end.expect(["written", "lost"], [500, 0]);
    assert!(home.texts().into_iter().eq((0..500).map(|number| format!("held {number}"))));
}

/// The stop comes while main waits for the next worker.
pub(crate) fn a_stop_right_after_the_death_of_a_worker_loses_nothing_unsaid() {
    for micros in [0, 50, 200, 500, 1000, 2000] {
        let home = Home::new();
        let mut logd = Logd::spawn(&home, command(&home, &ARGUMENTS).process_group(0));
        logd.send(|number| number.to_string(), 300);
        logd.signal_worker(Signal::KILL);
        std::thread::sleep(Duration::from_micros(micros));
        // To the whole group, like a terminal and some init systems; the next worker gets it too.
        kill_process_group(logd.pid(), Signal::TERM).unwrap();
        let end = logd.expect_good_end();
        let texts = home.texts();
        end.expect(["received"], [300]);
        for number in 0..300 {
            let text = number.to_string();
            let written = texts.iter().filter(|it| **it == text).count();
            let is_named = logd.said().contains(&format!("lost (running): {text}\n"));
            assert!(written == 1 || (written == 0 && is_named), "{micros}: {text} {written}");
        }
    }
}

pub(crate) fn a_storm_of_signals_changes_nothing() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    for round in 0..200 {
        logd.send(|number| format!("{}", round * 10 + number), 10);
        (0..20).for_each(|_| logd.signal(Signal::HUP));
    }
    logd.stop();
    assert!(home.texts().into_iter().eq((0..2000).map(|number| number.to_string())));
    assert_eq!(logd.said(), "");
}

fn block_and_ignore() -> std::io::Result<()> {
    // SAFETY: all zeroes is a valid set of signals.
    let mut set = unsafe { std::mem::zeroed() };
    // SAFETY: the call fills the set.
    unsafe { libc::sigfillset(&raw mut set) };
    // SAFETY: the call reads the set.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT] {
        // SAFETY: no memory is involved.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    Ok(())
}

/// Signals that were blocked or ignored at its start, as nohup leaves them.
pub(crate) fn signals_come_whatever_it_was_started_with() {
    let home = Home::new();
    let mut command = command(&home, &ARGUMENTS);
    // SAFETY: the child makes only system calls.
    unsafe { command.pre_exec(block_and_ignore) };
    let mut logd = Logd::spawn(&home, &mut command);
    logd.send(|number| number.to_string(), 2);
    home.await_lines(2);
    fs::rename(home.log(0), home.log(1)).unwrap();
    logd.signal(Signal::HUP);
    eventually("a new log", || home.log(0).exists().then_some(()));
    logd.stop();
}

/// After a long sleep it handled every tick that it had missed.
pub(crate) fn what_was_frozen_makes_no_burst_of_ticks() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    logd.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(3));
    logd.signal(Signal::CONT);
    logd.send(|number| number.to_string(), 1);
    home.await_lines(1);
    let end = logd.stop();
    let late = logd.figures("second").into_iter().chain(end.figures);
    let longest = late.flat_map(|figures| {
        let pairs = figures.fields["late"].clone();
        let pairs = pairs.split(',').filter_map(|pair| pair.split_once(':'));
        let long = pairs.filter(|(micros, _)| micros.parse::<u64>().unwrap() > 1_500_000);
        long.map(|(_, count)| count.parse::<u64>().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(longest.sum::<u64>(), 1, "one tick tells of the sleep");
}

pub(crate) fn without_stats_an_idle_daemon_sleeps() {
    let home = Home::new();
    let child = command(&home, &ARGUMENTS[..4]).spawn().unwrap();
    let mut daemon = Daemon(child);
    let client = UnixDatagram::unbound().unwrap();
    eventually("the socket", || client.send_to(b"hello", home.socket()).ok());
    home.await_lines(1);
    let wakeups = |pid: u32| -> u64 {
        let status = fs::read_to_string(proc(&format!("{pid}/status"))).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    };
    // Work caused by the message is over once nothing has happened for a while.
    let mut before = wakeups(daemon.0.id());
    eventually("rest", || {
        std::thread::sleep(Duration::from_millis(500));
        let now = wakeups(daemon.0.id());
        (std::mem::replace(&mut before, now) == now).then_some(())
    });
    daemon.end(Signal::TERM);
}

/// A daemon that is killed on drop.
struct Daemon(Child);

impl Daemon {
    fn end(&mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
        let status = eventually("the end", || self.0.try_wait().unwrap());
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Keeps a descriptor open across exec.
fn keep_at_exec(number: i32) -> std::io::Result<()> {
    // SAFETY: no memory is involved.
    let set = unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
    if set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn close_streams() -> std::io::Result<()> {
    for fd in 0..3 {
        // SAFETY: the program is about to be executed, and nothing uses them before.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

pub(crate) fn readiness_is_told_at_the_descriptor_that_was_given() {
    let home = Home::new();
    let (mut told, tell) = std::io::pipe().unwrap();
    let tell = OwnedFd::from(tell);
    let number = tell.as_raw_fd().to_string();
    let mut command = command(&home, &[&ARGUMENTS[..], &["--ready-fd", &number]].concat());
    let inherit = tell.as_raw_fd();
    // SAFETY: the child makes one system call.
    unsafe { command.pre_exec(move || keep_at_exec(inherit)) };
    let mut logd = Logd::spawn(&home, &mut command);
    drop(tell);
    let mut line = String::new();
    // End of file means that main closed it, and that the worker does not have it.
    told.read_to_string(&mut line).unwrap();
    assert_eq!(line, "\n");
    logd.stop();
    let output = crate::daemon::command(&home, &[&ARGUMENTS[..], &["--ready-fd", "99"]].concat())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(in_words(output.stderr), "logd: --ready-fd 99: EBADF (9)\n");
}

pub(crate) fn systemd_is_told_of_the_start_and_of_the_stop() {
    let home = Home::new();
    let hidden = format!("logd of {}", home.path("").display());
    let by_path = UnixDatagram::bind(home.path("notify")).unwrap();
    let address = SocketAddr::from_abstract_name(&hidden).unwrap();
    let by_name = UnixDatagram::bind_addr(&address).unwrap();
    let names = [home.path("notify").into_os_string(), format!("@{hidden}").into()];
    for (manager, name) in [by_path, by_name].into_iter().zip(names) {
        manager.set_read_timeout(Some(crate::home::DEADLINE)).unwrap();
        let mut logd = Logd::spawn(&home, command(&home, &ARGUMENTS).env("NOTIFY_SOCKET", name));
        let receive = || {
            let mut buffer = [0; 100];
            let len = manager.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..len].to_vec()).unwrap()
        };
        assert_eq!(receive(), "READY=1");
        logd.stop();
        assert_eq!(receive(), "STOPPING=1");
    }
}

pub(crate) fn the_process_number_is_in_a_file_while_it_runs() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--pid-file", "pid"]);
    let written = || fs::read_to_string(home.path("pid")).ok().filter(|text| !text.is_empty());
    let written = eventually("the number", written);
    assert_eq!(written, format!("{}\n", logd.pid()));
    logd.stop();
    assert!(!home.path("pid").exists());
}

pub(crate) fn main_and_worker_become_the_user_that_was_named() {
    if !rustix::process::geteuid().is_root() {
        skip("another user", "run as root");
    }
    let home = Home::new();
    fs::set_permissions(home.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    chown(home.path("logs"), Some(65_534), Some(65_533)).unwrap();
    let arguments = ["--user", "65534", "--group", "65533", "--pid-file", "pid"];
    let mut logd = Logd::start(&home, &arguments);
    logd.send(|number| number.to_string(), 5);
    home.await_lines(5);
    for pid in [logd.pid(), logd.worker().unwrap()] {
        let status = fs::read_to_string(proc(&format!("{pid}/status"))).unwrap();
        let of = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("Uid:"), "65534 65534 65534 65534");
        assert_eq!([of("Gid:"), of("Groups:")], ["65533 65533 65533 65533", "65533"]);
        assert_eq!(of("CapEff:"), "0000000000000000");
    }
    logd.replace_worker();
    logd.send(|number| number.to_string(), 1);
    let file = fs::metadata(home.log(0)).unwrap();
    assert_eq!([file.uid(), file.gid()], [65_534, 65_533]);
    // The daemon must be able to reopen it, even when started as that user.
    assert_eq!(fs::metadata(home.dir().join("lock")).unwrap().uid(), 65_534);
    logd.signal(Signal::TERM);
    assert_eq!(logd.await_end().code(), Some(0));
    assert_eq!(home.texts().len(), 6);
    // It has no right to remove it.
    assert_eq!(read(&home.path("pid")), b"");
    // Without a C library only numbers are possible.
    let [unknown, alone] = match is_tiny() {
        true => ["a number is needed", "--group is needed too"],
        false => ["not known here", "unknown here, so --group is needed"],
    };
    for (arguments, why) in [
        (["--user", "no-such-user"], unknown),
        (["--group", "no-such-group"], unknown),
        (["--user", "4000000"], alone),
    ] {
        let expected = format!("logd: {}: {why}\n", arguments.join(" "));
        let home = Home::new();
        let mut command = command(&home, &[&ARGUMENTS[..], &arguments].concat());
        let output = command.stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(in_words(output.stderr), expected);
    }
}

/// Descriptors 3 to 9 may be anything; 0 to 2 are closed.
pub(crate) fn with_closed_streams_its_words_go_into_no_file() {
    let home = Home::new();
    let mut command = command(&home, &ARGUMENTS[..4]);
    // SAFETY: the child makes only system calls.
    unsafe { command.pre_exec(close_streams) };
    let mut daemon = Daemon(command.spawn().unwrap());
    let client = UnixDatagram::unbound().unwrap();
    eventually("the socket", || client.send_to(b"hello", home.socket()).ok());
    home.await_lines(1);
    daemon.end(Signal::TERM);
    assert_eq!(home.texts(), ["hello"]);
}

/// A device was removed by its path.
pub(crate) fn repro_what_is_no_file_is_no_pid_file_and_stays() {
    let home = Home::new();
    let fifo = home.path("pid");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let mut command = command(&home, &[&ARGUMENTS[..], &["--pid-file", "pid"]].concat());
    assert_eq!(command.status().unwrap().code(), Some(1));
    assert!(home.said().contains("--pid-file pid: not a regular file"), "{}", home.said());
    assert!(fifo.exists() && !home.socket().exists());
    assert!(fs::symlink_metadata(home.dir().join("running")).is_err());
}

/// It removed whatever was at the path.
pub(crate) fn repro_a_pid_file_of_another_daemon_stays() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--pid-file", "pid"]);
    let pid = home.path("pid");
    let is_there = || fs::read_to_string(&pid).ok().filter(|text| !text.is_empty());
    eventually("the number", is_there);
    fs::write(&pid, "1\n").unwrap();
    logd.stop();
    assert_eq!(is_there().as_deref(), Some("1\n"), "the same file, with another number");
    let mut logd = Logd::start(&home, &["--pid-file", "pid"]);
    eventually("the number", || is_there().filter(|text| text != "1\n"));
    fs::remove_file(&pid).unwrap();
    fs::write(&pid, "").unwrap();
    logd.stop();
    assert!(pid.exists(), "another file");
}

/// By then the number belonged to its own standard error.
pub(crate) fn repro_a_descriptor_for_readiness_that_is_closed_is_an_error() {
    let home = Home::new();
    let (_reader, writer) = std::io::pipe().unwrap();
    for number in ["3", "7"] {
        let mut command = command(&home, &[&ARGUMENTS[..], &["--ready-fd", number]].concat());
        command.stderr(writer.try_clone().unwrap());
        assert_eq!(command.status().unwrap().code(), Some(1), "{number}");
    }
}
