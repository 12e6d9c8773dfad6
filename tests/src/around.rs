//! What a case may find around itself: sandboxes, an old kernel, namespaces, no /proc, little in
//! /dev, a read-only disk, closed standard streams, another machine.
//! `IPC_TESTS_AROUND` names one of them; without it a case runs as it is.

#![expect(unsafe_code, reason = "namespaces, mounts and descriptors by system calls")]

mod left_out;

use crate::over::{self, Over};
use std::ffi::{CStr, CString};
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

use ipc_worker::{Exec, Start, SystemError};

use crate::cases::skip;
use crate::seccomp;
use left_out::{LEFT_OUT, OF_C_LIBRARY};

/// Names the surroundings.
const AROUND: &str = "IPC_TESTS_AROUND";
/// The descriptor that still leads to standard error where that is closed.
static KEPT: AtomicI32 = AtomicI32::new(-1);
/// Where /proc is for the tests themselves, if it is hidden from the crates.
const PROC: &str = "IPC_TESTS_PROC";

/// A directory to mount at, which is usually there and empty (hier(7)).
const MOUNT_POINT: &str = "/mnt";

/// What small systems have in /dev.
const DEVICES: [&str; 9] =
    ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "fuse"];

/// What newer kernels have and sandboxes refuse, beside what `seccomp::NEWER` lists.
const REFUSED: [libc::c_long; 4] =
    [libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal, libc::SYS_close_range, libc::SYS_execveat];

/// Returns the path of a file of /proc, for the tests' own looks.
pub fn proc(path: &str) -> String {
    format!("{}/{path}", std::env::var(PROC).as_deref().unwrap_or("/proc"))
}

/// Returns whether a descriptor is only there to tell of failures.
pub fn is_kept(fd: RawFd) -> bool {
    fd == KEPT.load(Relaxed)
}

/// Starts this program again; by its path where the crates do not find /proc.
pub fn start_self() -> Result<Start<Exec<'static, Over>>, SystemError> {
    if std::env::var(PROC).is_err() {
        return over::exec_self();
    }
    let path = CString::new(proc("self/exe")).expect("no zero");
    Ok(over::exec(Box::leak(path.into_boxed_c_str())))
}

/// Returns whether surroundings are asked for that are still to be entered.
pub fn is_asked_for() -> bool {
    std::env::var(AROUND).is_ok()
}

/// Returns why a case is left out in the present surroundings.
pub fn leaves_out(case: &str) -> Option<&'static str> {
    let around = std::env::var(AROUND).ok()?;
    LEFT_OUT
        .iter()
        .filter(|(names, _, _)| names.split(", ").any(|name| name == around))
        .find(|(_, _, parts)| is_listed(parts, case))
        .map(|(_, why, _)| *why)
}

fn is_listed(parts: &[&str], case: &str) -> bool {
    let case = format!("{}::{case}", suite());
    parts.iter().any(|part| case.contains(part))
}

/// Returns the name of this program, as cargo knows it.
fn suite() -> String {
    let program = std::env::args().next().unwrap_or_default();
    let file = program.rsplit('/').next().unwrap_or_default();
    file.rsplit_once('-').map_or(file, |(name, _hash)| name).to_owned()
}

/// Changes the surroundings of this process, which is a case's. Returns in another process where
/// that is what is asked for; this one then waits for it and exits with its status.
pub fn enter(case: &str) {
    let Ok(around) = std::env::var(AROUND) else { return };
    let entered = match around.as_str() {
        "enosys" => refuse(case, libc::ENOSYS),
        "eperm" => refuse(case, libc::EPERM),
        "linux317" => {
            seccomp::be_linux_3_17();
            Ok(())
        }
        "pid1" => be_process_1(),
        "noproc" => hide_proc(),
        "readonly" => be_read_only(),
        "noshm" => leave_little_of_dev(),
        "fullshm" => fill_shm(),
        "closed" => close_streams(),
        // These are there already, from `cargo xtask cross`.
        "i686" | "qemu" => Ok(()),
        other => Err(io::Error::other(format!("{AROUND}={other} is not known"))),
    };
    if let Err(error) = entered {
        skip(&format!("all with {AROUND}={around}: {error}"), "root, and a kernel with namespaces");
    }
    // What this process starts is there already.
    // SAFETY: this process has one thread.
    unsafe { std::env::remove_var(AROUND) };
}

fn refuse(case: &str, errno: i32) -> io::Result<()> {
    seccomp::refuse(&REFUSED, errno);
    let is_of_c_library = is_listed(OF_C_LIBRARY, case);
    seccomp::refuse(&[libc::SYS_clone3], if is_of_c_library { libc::ENOSYS } else { errno });
    // What is started by exec, and barriers beyond one, cannot do without.
    if !["chaos", "container", "exec", "execs", "heist", "hostile", "several", "walks"]
        .contains(&suite().as_str())
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
            mount("proc", "/proc", 0)
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
    be_in_a_namespace()?;
    let (proc, hidden) = (Path::new("/proc"), Path::new("/proc/of-the-tests"));
    let aside = tempfile::tempdir()?;
    mount("/proc", aside.path(), libc::MS_BIND)?;
    mount("tmpfs", proc, 0)?;
    fs::create_dir(hidden)?;
    mount(aside.path(), hidden, libc::MS_MOVE)?;
    // SAFETY: this process has one thread.
    unsafe { std::env::set_var(PROC, hidden) };
    Ok(())
}

/// Makes the root file system read-only for this process and its children, as on many devices; what
/// the tests make lies on another one, in memory.
pub fn be_read_only() -> io::Result<()> {
    be_in_a_namespace()?;
    mount("tmpfs", MOUNT_POINT, 0)?;
    // SAFETY: this process has one thread.
    unsafe { std::env::set_var("TMPDIR", MOUNT_POINT) };
    mount("none", "/", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY)
}

/// Leaves of /dev, for this process and its children, what small systems and containers have: no
/// /dev/shm and no /dev/log.
pub fn leave_little_of_dev() -> io::Result<()> {
    be_in_a_namespace()?;
    mount("tmpfs", MOUNT_POINT, 0)?;
    for name in DEVICES {
        let [from, to] = ["/dev", MOUNT_POINT].map(|dir| Path::new(dir).join(name));
        if !from.exists() {
            continue;
        }
        let made = if from.is_dir() { fs::create_dir(&to) } else { fs::write(&to, "") };
        made?;
        mount(&from, &to, libc::MS_BIND)?;
    }
    mount(MOUNT_POINT, "/dev", libc::MS_MOVE)
}

/// Fills /dev/shm, for this process and its children.
pub fn fill_shm() -> io::Result<()> {
    be_in_a_namespace()?;
    let shm = Path::new("/dev/shm");
    mount_with("tmpfs", shm, 0, c"size=4k,nr_inodes=3")?;
    fs::write(shm.join("full"), [0; 4096])?;
    match fs::write(shm.join("more"), "x") {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
        other => Err(io::Error::other(format!("/dev/shm is not full: {other:?}"))),
    }
}

/// Leaves nothing of /dev for this process and its children.
pub fn hide_dev() -> io::Result<()> {
    be_in_a_namespace()?;
    mount("tmpfs", "/dev", 0)
}

/// What fails is still told, by a descriptor that no count sees.
fn close_streams() -> io::Result<()> {
    let stderr = rustix::io::fcntl_dupfd_cloexec(io::stderr(), 100)?;
    let number = stderr.as_raw_fd();
    std::mem::forget(stderr);
    KEPT.store(number, Relaxed);
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

/// Mounts from now on for this process and its children only.
fn be_in_a_namespace() -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    make_private()
}

fn make_private() -> io::Result<()> {
    mount("none", "/", libc::MS_REC | libc::MS_PRIVATE)
}

/// Mounts, or moves or changes a mount, by the flags; the kind is named as what is mounted.
fn mount(from: impl AsRef<Path>, to: impl AsRef<Path>, flags: libc::c_ulong) -> io::Result<()> {
    mount_with(from, to, flags, c"")
}

/// The same, with options of the file system.
fn mount_with(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    flags: libc::c_ulong,
    options: &CStr,
) -> io::Result<()> {
    let [from, to] = [from.as_ref(), to.as_ref()].map(|path| path.as_os_str().as_bytes());
    let (from, to) = (CString::new(from)?, CString::new(to)?);
    let options = options.as_ptr().cast();
    // SAFETY: all are strings that end with a zero.
    check(unsafe { libc::mount(from.as_ptr(), to.as_ptr(), from.as_ptr(), flags, options) })
        .map(|_| ())
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
