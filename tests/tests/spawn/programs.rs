//! A program: its file, its arguments, its descriptors and signals.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

use ipc_barrier::Ended;
use ipc_barrier::process::{Program, Setup};
use ipc_tests::around::{self, proc};
use ipc_tests::{cases, fds};
use rustix::process::Signal;

use crate::started::{SH, Sleeping, output, reason, refused, script};

/// Both ways to start: the C library's posix_spawn, and a fork, which a set-up needs.
fn both_ways() -> [Setup<'static>; 2] {
    [Setup::new(), Setup::new().group()]
}

pub(crate) fn a_program_has_its_arguments_and_the_environment_that_is_given() {
    for setup in both_ways() {
        let program = Program::Path(SH);
        let with = setup.clone().env(&[c"ONE=1", c"PATH=/usr/bin:/bin"]);
        let args = [c"another name", c"-c", c"echo $0 $1 $ONE $HOME; env | wc -l", c"a b", c"c"];
        let (text, ended) = output(&with, program, &args).unwrap();
        assert_eq!(ended, Ended::Exited(0));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "a b c 1");
        // Some shells add PWD, SHLVL and _.
        assert!(lines[1].trim().parse::<u32>().unwrap() <= 6, "{text}");
        let args = [c"sh", c"-c", c"echo $ONE"];
        assert_eq!(output(&setup.env(&[]), program, &args).unwrap().0, "\n");
    }
}

pub(crate) fn without_a_list_the_environment_is_inherited() {
    // SAFETY: this process has one thread.
    unsafe { std::env::set_var("OF_MAIN", "seven") };
    for setup in both_ways() {
        assert_eq!(script(&setup, "echo $OF_MAIN"), "seven\n");
    }
}

/// A script that lists open descriptors as `number id`, except the one that reads the list.
fn list() -> String {
    let all = proc("$$/fd/*");
    // No pipe: the shell would hold it for a moment. One shell keeps a script at 255.
    format!(
        "for fd in {all}; do [ $fd = ${{fd%/255}} ] && stat -L -c \"${{fd##*/}} %i\" $fd 2>/dev/null; \
         done; true"
    )
}

fn listed(text: &str) -> Vec<(i32, u64)> {
    let line = |line: &str| {
        let (number, id) = line.split_once(' ').unwrap();
        (number.parse().unwrap(), id.parse().unwrap())
    };
    text.lines().map(line).collect()
}

pub(crate) fn descriptors_lie_at_their_numbers_and_no_other_is_open() {
    let (first, second, other) = (fds::file(), fds::file(), fds::file());
    // One that exec would not close, since close-on-exec was forgotten.
    rustix::io::fcntl_setfd(&other, rustix::io::FdFlags::empty()).unwrap();
    for setup in both_ways() {
        let setup = setup.fd(first.as_fd(), 9).fd(second.as_fd(), 3);
        let found = listed(&script(&setup, &list()));
        let numbers: Vec<i32> = found.iter().map(|&(number, _)| number).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 9], "{found:?}");
        assert_eq!(found[3].1, fds::id_of(&second));
        assert_eq!(found[4].1, fds::id_of(&first));
    }
}

pub(crate) fn numbers_may_overlap() {
    let files: [_; 4] = std::array::from_fn(|_| fds::file());
    let numbers = files.each_ref().map(std::os::fd::AsRawFd::as_raw_fd);
    for setup in both_ways() {
        // Each gets the next one's number, the last the first one's, and one keeps its own.
        let mut setup = setup;
        for (index, file) in files.iter().enumerate().take(3) {
            setup = setup.fd(file.as_fd(), numbers[(index + 1) % 3]);
        }
        setup = setup.fd(files[3].as_fd(), numbers[3]);
        let found = listed(&script(&setup, &list()));
        for (index, file) in files.iter().enumerate() {
            let number = if index == 3 { numbers[3] } else { numbers[(index + 1) % 3] };
            assert!(found.contains(&(number, fds::id_of(file))), "{index}: {found:?}");
        }
    }
}

pub(crate) fn an_open_file_is_a_program_whatever_becomes_of_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sh");
    fs::copy("/bin/sh", &path).unwrap();
    let file = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&file);
    for setup in both_ways() {
        // Another file gets its number, too.
        let other = fds::file();
        let setup = setup.fd(other.as_fd(), number);
        let args = [c"sh", c"-c", c"echo here"];
        let (text, ended) = output(&setup, Program::Open(file.as_fd()), &args).unwrap();
        assert_eq!((text.as_str(), ended), ("here\n", Ended::Exited(0)));
    }
}

/// The C library accepts only a path for it, which was in /proc.
pub(crate) fn repro_an_open_file_is_a_program_where_proc_is_missing() {
    let file = File::open("/bin/sh").unwrap();
    if let Err(error) = around::hide_proc() {
        cases::skip(&format!("a mount namespace: {error}"), "root");
    }
    for setup in both_ways() {
        let args = [c"sh", c"-c", c"echo here"];
        let (text, ended) = output(&setup, Program::Open(file.as_fd()), &args).unwrap();
        assert_eq!((text.as_str(), ended), ("here\n", Ended::Exited(0)));
        let plain = tempfile::tempfile().unwrap();
        let why = reason(&setup, Program::Open(plain.as_fd()));
        assert!(why.starts_with("stage exec: ") && why.ends_with(": EACCES (13)"), "{why}");
    }
}

/// Only /proc lists open descriptors. If it is missing, the kernel still marks all of them.
pub(crate) fn repro_nothing_else_is_open_where_proc_is_missing() {
    let leaked = fds::file();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    if let Err(error) = around::hide_proc() {
        cases::skip(&format!("a mount namespace: {error}"), "root");
    }
    for setup in both_ways() {
        let found = listed(&script(&setup.fd(leaked.as_fd(), 9), &list()));
        let numbers: Vec<i32> = found.iter().map(|&(number, _)| number).collect();
        assert_eq!(numbers, [0, 1, 2, 9], "{found:?}");
    }
}

pub(crate) fn a_program_that_is_missing_or_not_executable_is_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plain");
    fs::write(&path, "no program").unwrap();
    let plain = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    for setup in both_ways() {
        let why = reason(&setup, Program::Path(c"/no/such/program"));
        assert_eq!(why, "stage exec: /no/such/program: ENOENT (2)");
        let why = reason(&setup, Program::Path(&plain));
        assert!(why.starts_with("stage exec: ") && why.ends_with(": EACCES (13)"), "{why}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let why = reason(&setup, Program::Path(&plain));
        assert!(why.ends_with(": ENOEXEC (8)"), "{why}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let why = reason(&setup, Program::Open(fds::file().as_fd()));
        assert!(why.starts_with("stage exec: /proc/self/fd/") && why.ends_with(": EACCES (13)"));
    }
}

pub(crate) fn too_much_is_refused_before_anything_starts() {
    let file = fds::file();
    for setup in both_ways() {
        let many = [c"x"; 65];
        let error = refused(&setup, Program::Path(SH), &many).to_string();
        assert!(error.ends_with("stage exec: arguments: E2BIG (7)"), "{error}");
        let error = refused(&setup.clone().env(&many), Program::Path(SH), &[c"sh"]).to_string();
        assert!(error.ends_with("stage exec: environment: E2BIG (7)"), "{error}");
        let mut full = setup.clone();
        for number in 3..18 {
            full = full.fd(file.as_fd(), number);
        }
        assert_eq!(script(&full, &format!("test -e {} && echo ok", proc("$$/fd/17"))), "ok\n");
        let error =
            refused(&full.fd(file.as_fd(), 18).fd(file.as_fd(), 19), Program::Path(SH), &[c"sh"])
                .to_string();
        assert!(error.ends_with("stage descriptors: more than 16: E2BIG (7)"), "{error}");
        for number in [-1, 1_000_000_000] {
            let error =
                refused(&setup.clone().fd(file.as_fd(), number), Program::Path(SH), &[c"sh"]);
            assert!(error.to_string().contains("stage descriptors: dup3: EBADF (9)"), "{error}");
        }
    }
}

/// The C library's own signals, which some libraries leave ignored in programs that they start.
const OF_LIBC: u64 = 0b111 << 31;

/// Returns a signal mask from a process's status.
fn mask(child: &Sleeping, name: &str) -> u64 {
    u64::from_str_radix(&child.status(name), 16).unwrap()
}

pub(crate) fn signals_have_their_default_action_and_none_is_blocked() {
    for signal in [Signal::TERM, Signal::CHILD, Signal::USR1] {
        // SAFETY: no handler is installed.
        unsafe { libc::signal(signal.as_raw(), libc::SIG_IGN) };
    }
    for setup in both_ways() {
        let blocked = ipc_barrier::process::block_signals().unwrap();
        // SIGCHLD is ignored, so nothing can wait for it.
        let child = Sleeping::start(&setup);
        drop(blocked);
        assert_eq!(mask(&child, "SigBlk"), 0);
        assert_eq!(mask(&child, "SigIgn") & !OF_LIBC, 0);
    }
}

pub(crate) fn a_program_may_begin_with_all_signals_blocked() {
    for setup in both_ways() {
        let setup = setup.blocked();
        let child = Sleeping::start(&setup);
        // All but SIGKILL and SIGSTOP, which cannot be blocked.
        assert_eq!(mask(&child, "SigBlk") | OF_LIBC, !((1 << 8) | (1 << 18)));
    }
}
