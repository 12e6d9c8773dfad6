//! What a case may find around itself: sandboxes, namespaces, no /proc, closed standard streams.
//! `IPC_TESTS_AROUND` names one of them; without it a case runs as it is.

#![expect(unsafe_code, reason = "namespaces, mounts and descriptors by system calls")]

use std::ffi::CString;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ipc_worker::{Exec, Start};

use crate::cases::skip;
use crate::seccomp;

/// Names the surroundings.
const AROUND: &str = "IPC_TESTS_AROUND";
/// Where /proc is for the tests themselves, if it is hidden from the crates.
const PROC: &str = "IPC_TESTS_PROC";

/// What newer kernels have and sandboxes refuse, beside what `seccomp::NEWER` lists.
const REFUSED: [libc::c_long; 5] = [
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_clone3,
    libc::SYS_close_range,
    libc::SYS_execveat,
];

/// Why a case is left out.
const OWN_STREAMS: &str = "what a process has opened at 0 to 2 counts as its standard streams";
const CLOSES_THEM: &str = "it closes what is closed already";
const NEEDS_PIDFD: &str = "without a pidfd nothing shows that death";
const NEEDS_MEMFD: &str = "what crosses an exec lies in a memfd";
const IS_FILTERED: &str = "the filter of the surroundings has set that already";
const C_LIBRARY: &str = "where clone3 answers EPERM the C library starts no thread and no program";

/// Cases that make no sense in some surroundings, by a part of their names, and why.
const LEFT_OUT: &[(&str, &str, &str)] = &[
    ("closed", "every_descriptor_but_the_listed_is_closed", OWN_STREAMS),
    ("closed", "with_nothing_listed_only_the_standard_streams_stay", OWN_STREAMS),
    ("closed", "without_close_range_the_same_are_closed", OWN_STREAMS),
    ("closed", "a_detached_descriptor_keeps_its_number", OWN_STREAMS),
    ("closed", "an_io_uring_is_unsendable", OWN_STREAMS),
    ("closed", "a_closed_connection_is_seen_at_once", OWN_STREAMS),
    ("closed", "the_child_keeps_only_its_own_descriptors", OWN_STREAMS),
    ("closed", "repro_an_end_keeps_its_pidfd_where_only", OWN_STREAMS),
    ("closed", "numbers_may_overlap", OWN_STREAMS),
    ("closed", "in_a_sandbox_without_the_newer_calls", OWN_STREAMS),
    ("closed", "a_start_that_lacks_a_descriptor", OWN_STREAMS),
    ("closed", "with_standard_streams_closed", CLOSES_THEM),
    ("closed", "where_standard_streams_are_closed", CLOSES_THEM),
    ("closed", "with_closed_streams", CLOSES_THEM),
    ("enosys", "every_answer_is_that_of_the_written_rules", NEEDS_PIDFD),
    ("enosys", "repro_where_every_wait_is_refused", NEEDS_PIDFD),
    ("enosys", "a_grandchild_that_holds_all_descriptors", NEEDS_PIDFD),
    ("enosys", "tokens_before_a_death_that_a_pidfd_shows", NEEDS_PIDFD),
    ("enosys", "a_broken_pidfd_is_an_abort", NEEDS_PIDFD),
    ("enosys", "a_child_watches_its_parent", NEEDS_PIDFD),
    ("enosys", "a_process_that_is_not_watched_any_more", NEEDS_PIDFD),
    ("enosys", "a_wait_that_the_system_refuses", NEEDS_PIDFD),
    ("enosys", "a_barrier_lists_its_descriptors", NEEDS_MEMFD),
    ("enosys", "no_new_privs_and_the_death_signal_are_set", IS_FILTERED),
    ("enosys", "a_filter_is_the_last_and_forbids", IS_FILTERED),
    ("enosys", "a_ruleset_restricts_the_program", IS_FILTERED),
    ("eperm", "every_answer_is_that_of_the_written_rules", NEEDS_PIDFD),
    ("eperm", "repro_where_every_wait_is_refused", NEEDS_PIDFD),
    ("eperm", "a_grandchild_that_holds_all_descriptors", NEEDS_PIDFD),
    ("eperm", "tokens_before_a_death_that_a_pidfd_shows", NEEDS_PIDFD),
    ("eperm", "a_broken_pidfd_is_an_abort", NEEDS_PIDFD),
    ("eperm", "a_child_watches_its_parent", NEEDS_PIDFD),
    ("eperm", "a_process_that_is_not_watched_any_more", NEEDS_PIDFD),
    ("eperm", "a_wait_that_the_system_refuses", NEEDS_PIDFD),
    ("eperm", "a_barrier_lists_its_descriptors", NEEDS_MEMFD),
    ("eperm", "no_new_privs_and_the_death_signal_are_set", IS_FILTERED),
    ("eperm", "a_filter_is_the_last_and_forbids", IS_FILTERED),
    ("eperm", "a_ruleset_restricts_the_program", IS_FILTERED),
    ("eperm", "a_second_thread_is", C_LIBRARY),
    ("eperm", "repro_the_c_librarys_own_signals", C_LIBRARY),
    ("eperm", "threads_are_still_counted", C_LIBRARY),
    ("eperm", "threads_are_counted", C_LIBRARY),
    ("eperm", "without_proc_unshare_alone_decides", C_LIBRARY),
    ("eperm", "repro_the_kernels_own_threads", C_LIBRARY),
    ("eperm", "repro_a_thread_that_lives", C_LIBRARY),
    ("eperm", "threads_that_note", C_LIBRARY),
    ("eperm", "beside_threads", C_LIBRARY),
    ("eperm", "by_hand_it_says", C_LIBRARY),
    ("eperm", "what_a_worker_starts_itself", C_LIBRARY),
    ("eperm", "an_upgrade_on_disk", C_LIBRARY),
    ("eperm", "with_threads_and_under_kills", C_LIBRARY),
    ("pid1", "a_program_leads_a_session_or_a_group", "its session begins outside of the namespace"),
];

/// Returns the path of a file of /proc, for the tests' own looks.
pub fn proc(path: &str) -> String {
    format!("{}/{path}", std::env::var(PROC).as_deref().unwrap_or("/proc"))
}

/// Starts this program again; by its path where the crates do not find /proc.
pub fn start_self() -> Start<Exec<'static>> {
    if std::env::var(PROC).is_err() {
        return Start::exec_self().expect("/proc is mounted");
    }
    let path = CString::new(proc("self/exe")).expect("no zero");
    Start::exec(Box::leak(path.into_boxed_c_str()))
}

/// Returns why a case is left out in the present surroundings.
pub fn leaves_out(case: &str) -> Option<&'static str> {
    let around = std::env::var(AROUND).ok()?;
    let left_out = |(name, part, _): &&(&str, &str, &str)| {
        name.contains(around.as_str()) && case.contains(part)
    };
    LEFT_OUT.iter().find(left_out).map(|(_, _, why)| *why)
}

/// Changes the surroundings of this process, which is a case's. Returns in another process where
/// that is what is asked for; this one then waits for it and exits with its status.
pub fn enter() {
    let Ok(around) = std::env::var(AROUND) else { return };
    let entered = match around.as_str() {
        "enosys" => refuse(libc::ENOSYS),
        "eperm" => refuse(libc::EPERM),
        "pid1" => be_process_1(),
        "noproc" => hide_proc(),
        "closed" => close_streams(),
        other => Err(io::Error::other(format!("{AROUND}={other} is not known"))),
    };
    if let Err(error) = entered {
        skip(&format!("{around}: {error}"), "root, and a kernel with namespaces");
    }
    // What this process starts is there already.
    // SAFETY: this process has one thread.
    unsafe { std::env::remove_var(AROUND) };
}

fn refuse(errno: i32) -> io::Result<()> {
    seccomp::refuse(&REFUSED, errno);
    // What is started by exec, and barriers beyond one, cannot do without.
    let program = std::env::args().next().unwrap_or_default();
    if !["container", "exec", "heist", "several"]
        .iter()
        .any(|name| program.contains(&format!("/{name}")))
    {
        seccomp::refuse(&[libc::SYS_memfd_create], errno);
    }
    Ok(())
}

fn be_process_1() -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::unshare(libc::CLONE_NEWPID | libc::CLONE_NEWNS) })?;
    // SAFETY: this process has one thread, so that the child may do anything.
    match check(unsafe { libc::fork() })? {
        0 => {
            make_private()?;
            mount("proc", Path::new("/proc"), 0)
        }
        child => {
            let mut status = 0;
            // SAFETY: the kernel writes the status into the variable.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            let exited = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
            ipc_barrier::exit(exited.unwrap_or(1))
        }
    }
}

/// Covers /proc in this process and its children by an empty directory. What it was stays there
/// for the tests, below a name that nobody else knows.
pub fn hide_proc() -> io::Result<()> {
    if std::env::var(PROC).is_ok() {
        return Ok(());
    }
    // SAFETY: no memory is involved.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    make_private()?;
    let (proc, hidden) = (Path::new("/proc"), Path::new("/proc/of-the-tests"));
    let aside = tempfile::tempdir()?;
    mount("/proc", aside.path(), libc::MS_BIND)?;
    mount("tmpfs", proc, 0)?;
    std::fs::create_dir(hidden)?;
    mount(&aside.path().to_string_lossy(), hidden, libc::MS_MOVE)?;
    // SAFETY: this process has one thread.
    unsafe { std::env::set_var(PROC, hidden) };
    Ok(())
}

/// What fails is still told, by a descriptor that no count sees.
fn close_streams() -> io::Result<()> {
    let stderr = rustix::io::fcntl_dupfd_cloexec(io::stderr(), 100)?;
    let number = stderr.as_raw_fd();
    std::mem::forget(stderr);
    std::panic::set_hook(Box::new(move |info| {
        let text = format!("{info}\n");
        // SAFETY: the descriptor is open, or the call fails; the text lives beyond the call.
        unsafe { libc::write(number, text.as_ptr().cast(), text.len()) };
    }));
    _ = io::stdout().flush();
    for stream in 0..3 {
        // SAFETY: nobody uses it afterwards but to find that it is closed.
        unsafe { libc::close(stream) };
    }
    Ok(())
}

fn make_private() -> io::Result<()> {
    mount("none", Path::new("/"), libc::MS_REC | libc::MS_PRIVATE)
}

/// Mounts, or moves or changes a mount, by the flags; the kind is named as what is mounted.
fn mount(from: &str, to: &Path, flags: libc::c_ulong) -> io::Result<()> {
    let (from, to) = (CString::new(from)?, CString::new(to.as_os_str().as_bytes())?);
    // SAFETY: all are strings that end with a zero; the data may be null.
    check(unsafe {
        libc::mount(from.as_ptr(), to.as_ptr(), from.as_ptr(), flags, std::ptr::null())
    })
    .map(|_| ())
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
