//! The steps of a set-up: each works, each fails with its stage, and their order is fixed.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use ipc_barrier::process::{Instruction, Program, Resource, Setup, Signal, SpawnError};
use ipc_barrier::{Ended, exit};
use ipc_tests::around::proc;
use ipc_tests::forked::{end_of, forked, soon};
use ipc_tests::{cases, fds, seccomp};

use crate::started::{SH, Sleeping, output, reason, refused, script};

const NOBODY: u32 = 65_534;

fn expect_root() {
    if !rustix::process::geteuid().is_root() {
        cases::skip("changing ids and the root directory", "run as root");
    }
}

/// Runs the rest of a case in a child with another user.
fn as_nobody(run: impl FnOnce()) {
    let mut child = forked(|| {
        Setup::new().ids(NOBODY, NOBODY, &[]).apply().unwrap();
        run();
    });
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

pub(crate) fn a_program_leads_a_session_or_a_group() {
    let ids = &format!("cut -d' ' -f1,5,6 {}", proc("$$/stat"));
    let numbers = |setup: Setup<'_>| -> Vec<i32> {
        script(&setup, ids).split_whitespace().map(|number| number.parse().unwrap()).collect()
    };
    let [pid, group, session] = numbers(Setup::new().session())[..] else { panic!() };
    assert_eq!((group, session), (pid, pid));
    // Not getsid(2): it returns 0 if the session's leader is in an outer namespace.
    let own = own_session();
    let [pid, group, session] = numbers(Setup::new().group())[..] else { panic!() };
    assert_eq!((group, session), (pid, own));
    let [pid, group, session] = numbers(Setup::new().group().session().group())[..] else {
        panic!()
    };
    assert_eq!((group, session), (pid, pid), "a session leader also leads a group");
}

/// Read from /proc, which a shell can read too. qemu-user reports no session for a process itself.
fn own_session() -> i32 {
    let stat = fs::read_to_string(proc("thread-self/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1;
    fields.split(' ').nth(3).unwrap().parse().unwrap()
}

pub(crate) fn a_process_that_leads_a_session_cannot_lead_another() {
    let mut child = forked(|| {
        Setup::new().session().apply().unwrap();
        let why = Setup::new().session().apply().unwrap_err().to_string();
        assert_eq!(why, "stage session: setsid: EPERM (1)");
        let why = Setup::new().group().apply().unwrap_err().to_string();
        assert_eq!(why, "stage session: setpgid: EPERM (1)");
    });
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

pub(crate) fn limits_are_soft_and_hard_and_at_most_sixteen() {
    let setup = Setup::new().limit(Resource::Nofile, 50).limit(Resource::Core, 0);
    assert_eq!(script(&setup, "ulimit -Sn; ulimit -Hn; ulimit -Sc"), "50\n50\n0\n");
    let mut full = Setup::new();
    for _ in 0..16 {
        full = full.limit(Resource::Core, 0);
    }
    assert_eq!(script(&full, "ulimit -Sc"), "0\n");
    let why = reason(&full.limit(Resource::Core, 0), Program::Path(SH));
    assert_eq!(why, "stage limits: more than 16: E2BIG (7)");
    expect_root();
    as_nobody(|| {
        Setup::new().limit(Resource::Nofile, 50).apply().unwrap();
        let why = reason(&Setup::new().limit(Resource::Nofile, u64::MAX), Program::Path(SH));
        assert_eq!(why, "stage limits: setrlimit: EPERM (1)");
    });
}

pub(crate) fn a_limit_that_forbids_the_exec_is_a_reason() {
    expect_root();
    // This user exceeds the limit, which the kernel checks at exec (execve(2)).
    let first = Sleeping::start(&Setup::new().ids(NOBODY, NOBODY, &[]));
    let setup = Setup::new().limit(Resource::Nproc, 0).ids(NOBODY, NOBODY, &[]);
    let why = reason(&setup, Program::Path(SH));
    assert_eq!(why, "stage exec: /bin/sh: EAGAIN (11)");
    drop(first);
}

pub(crate) fn a_new_root_and_directory_are_what_the_program_sees() {
    expect_root();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("inner")).unwrap();
    let root = std::ffi::CString::new(dir.path().to_str().unwrap()).unwrap();
    assert_eq!(
        script(&Setup::new().directory(&root), "pwd"),
        format!("{}\n", root.to_str().unwrap())
    );
    let mut child = forked(|| {
        Setup::new().root(&root).apply().unwrap();
        assert_eq!(std::env::current_dir().unwrap(), std::path::Path::new("/"));
    });
    assert_eq!(end_of(&mut child), Ended::Exited(0));
    let mut child = forked(|| {
        // The order of the calls does not matter: the directory is inside the new root.
        Setup::new().directory(c"/inner").root(&root).apply().unwrap();
        assert_eq!(std::env::current_dir().unwrap(), std::path::Path::new("/inner"));
        assert!(fs::exists("/inner").unwrap() && !fs::exists("/bin").unwrap());
    });
    assert_eq!(end_of(&mut child), Ended::Exited(0));
    let why = reason(&Setup::new().root(&root), Program::Path(SH));
    assert_eq!(why, "stage exec: /bin/sh: ENOENT (2)", "it is not in the new root");
    let why = reason(&Setup::new().root(c"/no/such"), Program::Path(SH));
    assert_eq!(why, "stage root: /no/such: ENOENT (2)");
    let why = reason(&Setup::new().root(&root).directory(c"/tmp"), Program::Path(SH));
    assert_eq!(why, "stage directory: /tmp: ENOENT (2)");
    as_nobody(|| {
        let why = reason(&Setup::new().root(c"/tmp"), Program::Path(SH));
        assert_eq!(why, "stage root: /tmp: EPERM (1)");
    });
}

pub(crate) fn ids_are_real_effective_saved_and_all_groups() {
    expect_root();
    let child = Sleeping::start(&Setup::new().ids(1234, 2345, &[7, 4567, 5]));
    assert_eq!(child.status("Uid"), "1234\t1234\t1234\t1234");
    assert_eq!(child.status("Gid"), "2345\t2345\t2345\t2345");
    assert_eq!(child.status("Groups"), "5 7 4567");
    assert_eq!(child.status("CapEff"), "0000000000000000");
    let child = Sleeping::start(&Setup::new().ids(1234, 2345, &[]));
    assert_eq!(child.status("Groups"), "");
    let many: Vec<u32> = (0..65).collect();
    let child = Sleeping::start(&Setup::new().ids(0, 0, &many[..64]));
    assert_eq!(child.status("Groups").split(' ').count(), 64);
    let why = reason(&Setup::new().ids(0, 0, &many), Program::Path(SH));
    assert_eq!(why, "stage ids: more than 64 groups: E2BIG (7)");
}

pub(crate) fn ids_that_cannot_be_taken_are_a_reason() {
    expect_root();
    let why = reason(&Setup::new().ids(u32::MAX, 0, &[]), Program::Path(SH));
    assert_eq!(why, "stage ids: setresuid: EPERM (1)", "no user has this number");
    as_nobody(|| {
        let why = reason(&Setup::new().ids(NOBODY, NOBODY, &[]), Program::Path(SH));
        assert_eq!(why, "stage ids: setgroups: EPERM (1)");
    });
}

pub(crate) fn ids_that_a_sandbox_only_pretends_to_set_are_refused() {
    expect_root();
    for (call, name) in [
        (libc::SYS_setgroups, "setgroups"),
        (libc::SYS_setresgid, "setresgid"),
        (libc::SYS_setresuid, "setresuid"),
    ] {
        let mut child = forked(|| {
            // The call reports success and does nothing.
            seccomp::refuse(&[call], 0);
            let why = reason(&Setup::new().ids(1234, 1234, &[1234]), Program::Path(SH));
            assert_eq!(why, format!("stage ids: {name}: EPERM (1)"));
        });
        assert_eq!(end_of(&mut child), Ended::Exited(0), "{name}");
    }
}

pub(crate) fn no_new_privs_and_the_death_signal_are_set() {
    let child = Sleeping::start(&Setup::new().no_new_privs());
    assert_eq!(child.status("NoNewPrivs"), "1");
    let child = Sleeping::start(&Setup::new().group());
    assert_eq!(child.status("NoNewPrivs"), "0");
}

pub(crate) fn a_program_ends_with_its_parent() {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let mut parent = forked(|| {
        let setup = Setup::new().parent_death(Signal::KILL).fd(write.as_fd(), 7);
        std::mem::forget(Sleeping::start(&setup));
    });
    assert_eq!(end_of(&mut parent), Ended::Exited(0));
    drop(write);
    // It held the pipe open while it lived.
    let mut watched = [ipc_transport::Watched::new(read.as_fd(), ipc_transport::Interest::Input)];
    assert!(ipc_transport::wait(&mut watched, Some(soon())).unwrap());
}

pub(crate) fn a_filter_is_the_last_and_forbids_what_it_says() {
    let refuse = filter(libc::SYS_uname, libc::SECCOMP_RET_ERRNO | 1);
    let setup = Setup::new().filter(&refuse).no_new_privs();
    // Without the message, which may be in any language.
    assert_eq!(script(&setup, "uname >/dev/null 2>&1 || echo refused"), "refused\n");
    expect_root();
    as_nobody(|| {
        let why = reason(&Setup::new().filter(&refuse), Program::Path(SH));
        assert_eq!(why, "stage filter: seccomp: EACCES (13)", "it needs no_new_privs");
    });
    let nonsense = [Instruction { code: 0xffff, jt: 0, jf: 0, k: 0 }];
    let why = reason(&Setup::new().no_new_privs().filter(&nonsense), Program::Path(SH));
    assert_eq!(why, "stage filter: seccomp: EINVAL (22)");
    let long = vec![Instruction { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW }; 65_537];
    let why = reason(&Setup::new().no_new_privs().filter(&long), Program::Path(SH));
    assert_eq!(why, "stage filter: seccomp: EINVAL (22)");
}

pub(crate) fn a_filter_that_forbids_the_exec_is_told() {
    let refuse = filter(libc::SYS_execve, libc::SECCOMP_RET_ERRNO | 13);
    let why = reason(&Setup::new().no_new_privs().filter(&refuse), Program::Path(SH));
    assert_eq!(why, "stage exec: /bin/sh: EACCES (13)");
    // Killed on the spot, so it cannot report anything.
    let kill = filter(libc::SYS_execve, libc::SECCOMP_RET_KILL_PROCESS);
    for _ in 0..20 {
        let error =
            refused(&Setup::new().no_new_privs().filter(&kill), Program::Path(SH), &[c"sh"]);
        assert_eq!(error, SpawnError::Died(Ended::Killed(31)));
    }
    // A child that cannot report either.
    let mute = filter(libc::SYS_write, libc::SECCOMP_RET_ERRNO | 1);
    let setup = Setup::new().no_new_privs().filter(&mute);
    let error = refused(&setup, Program::Path(c"/no/such"), &[c"no"]);
    assert_eq!(error, SpawnError::Died(Ended::Exited(127)));
}

/// A filter that gives this answer to one call and permits all others.
fn filter(call: libc::c_long, answer: u32) -> [Instruction; 4] {
    let k = u32::try_from(call).unwrap();
    [
        Instruction { code: 0x20, jt: 0, jf: 0, k: 0 },
        Instruction { code: 0x15, jt: 0, jf: 1, k },
        Instruction { code: 0x06, jt: 0, jf: 0, k: answer },
        Instruction { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ]
}

/// A ruleset that forbids writing to files. Skips the case if the kernel has no landlock.
fn ruleset() -> OwnedFd {
    const WRITE_FILE: u64 = 2;
    let handled = WRITE_FILE;
    // SAFETY: the kernel reads the eight bytes.
    let made =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, 8, 0) };
    let number = RawFd::try_from(made).unwrap_or(-1);
    if number < 0 {
        let error = std::io::Error::last_os_error();
        cases::skip(&format!("landlock: {error}"), "a kernel from 5.13 on with lsm=landlock");
    }
    // SAFETY: it was just made, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

pub(crate) fn a_ruleset_restricts_the_program() {
    let (ruleset, other) = (ruleset(), fds::file());
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let write = format!("(echo x >{path}) 2>&1 || echo refused");
    // Another file gets its number too.
    let setup = Setup::new().landlock(ruleset.as_fd()).fd(other.as_fd(), ruleset.as_raw_fd());
    let text = script(&setup.clone().no_new_privs(), &write);
    assert!(text.ends_with("refused\n"), "{text}");
    assert_eq!(script(&Setup::new().no_new_privs(), &write), "");
    let why = reason(&Setup::new().no_new_privs().landlock(other.as_fd()), Program::Path(SH));
    assert_eq!(why, "stage landlock: landlock_restrict_self: error number 77");
    expect_root();
    as_nobody(|| {
        let why = reason(&setup, Program::Path(SH));
        assert_eq!(why, "stage landlock: landlock_restrict_self: EPERM (1)");
    });
}

pub(crate) fn apply_sets_this_process_up_and_keeps_its_descriptors() {
    let mut child = forked(|| {
        let before = fds::open();
        let setup = Setup::new().session().name(c"of another name").limit(Resource::Core, 0);
        setup.directory(c"/tmp").no_new_privs().parent_death(Signal::TERM).apply().unwrap();
        assert_eq!(fds::open(), before);
        assert_eq!(fs::read_to_string(proc("self/comm")).unwrap(), "of another name\n");
        assert_eq!(std::env::current_dir().unwrap(), std::path::Path::new("/tmp"));
        let status = fs::read_to_string(proc("self/status")).unwrap();
        assert!(status.contains("NoNewPrivs:\t1"));
        let signal = rustix::process::parent_process_death_signal().unwrap();
        assert_eq!(signal, Some(Signal::TERM));
        let mut full = Setup::new();
        for _ in 0..17 {
            full = full.limit(Resource::Nofile, 0);
        }
        assert!(full.apply().is_err());
        let file = fds::file();
        drop(file);
    });
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

pub(crate) fn rights_are_given_up_after_all_that_needs_them() {
    expect_root();
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let directory = std::ffi::CString::new(dir.path().to_str().unwrap()).unwrap();
    let allow = filter(libc::SYS_setsid, libc::SECCOMP_RET_KILL_PROCESS);
    // Called in the opposite order, in which each step would forbid the next.
    let setup = Setup::new()
        .filter(&allow)
        .no_new_privs()
        .parent_death(Signal::KILL)
        .ids(NOBODY, NOBODY, &[])
        .directory(&directory)
        .session();
    let (text, ended) =
        output(&setup, Program::Path(SH), &[c"sh", c"-c", c"id -u; id -G"]).unwrap();
    assert_eq!((text.as_str(), ended), ("65534\n65534\n", Ended::Exited(0)));
}

pub(crate) fn a_child_that_hangs_is_killed_at_the_deadline() {
    // A file system that does not answer blocks exec, and so does a silent filter listener.
    let mut child = forked(|| {
        if seccomp::silent(libc::SYS_setsid).is_err() {
            exit(77);
        }
        let deadline = ipc_transport::Instant::now() + Duration::from_millis(300);
        let error = Setup::new().session().spawn(SH, &[c"sh"], deadline).unwrap_err();
        assert_eq!(error, SpawnError::TimedOut);
        assert!(ipc_transport::Instant::now() >= deadline);
        assert!(fds::children().is_empty());
    });
    match end_of(&mut child) {
        Ended::Exited(77) => cases::skip("seccomp notifications", "a kernel from 5.0 on with them"),
        ended => assert_eq!(ended, Ended::Exited(0)),
    }
}
