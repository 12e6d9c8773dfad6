//! The surroundings of a case: sandboxes, an old kernel, namespaces, no /proc, few devices in /dev,
//! a read-only disk, closed standard streams, another machine.
//! `IPC_TESTS_AROUND` selects one; without it a case runs in unchanged surroundings.

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

/// Selects the surroundings.
const AROUND: &str = "IPC_TESTS_AROUND";
/// The descriptor that still leads to standard error after standard error is closed.
static KEPT: AtomicI32 = AtomicI32::new(-1);
/// The path at which the tests find /proc if it is hidden from the crates.
const PROC: &str = "IPC_TESTS_PROC";

/// A directory to mount on, which usually exists and is empty (hier(7)).
const MOUNT_POINT: &str = "/mnt";

/// The devices that small systems have in /dev.
const DEVICES: [&str; 7] = ["null", "zero", "full", "random", "urandom", "tty", "fuse"];

/// Calls of newer kernels that sandboxes refuse, in addition to `seccomp::NEWER`.
const REFUSED: [libc::c_long; 4] =
    [libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal, libc::SYS_close_range, libc::SYS_execveat];

/// Returns the path of a file in /proc, for use by the tests themselves.
pub fn proc(path: &str) -> String {
    format!("{}/{path}", std::env::var(PROC).as_deref().unwrap_or("/proc"))
}

/// Returns whether the descriptor was kept open only to report failures.
pub fn is_kept(fd: RawFd) -> bool {
    fd == KEPT.load(Relaxed)
}

/// Starts this program again, by its path if /proc is hidden from the crates.
pub fn start_self() -> Result<Start<Exec<'static, Over>>, SystemError> {
    if std::env::var(PROC).is_err() {
        return over::exec_self();
    }
    let path = CString::new(proc("self/exe")).expect("no zero");
    Ok(over::exec(Box::leak(path.into_boxed_c_str())))
}

/// Returns whether surroundings were requested but not entered yet.
pub fn is_asked_for() -> bool {
    std::env::var(AROUND).is_ok()
}

/// Returns why a case is left out in the current surroundings.
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

/// Returns the name under which cargo knows this program.
fn suite() -> String {
    let program = std::env::args().next().unwrap_or_default();
    let file = program.rsplit('/').next().unwrap_or_default();
    file.rsplit_once('-').map_or(file, |(name, _hash)| name).to_owned()
}

/// Changes the surroundings of this process, which runs one case. Some surroundings need another
/// process: the function then returns there, and this process waits for it and exits with its
/// status.
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
        // `cargo xtask cross` has set these up.
        "i686" | "qemu" => Ok(()),
        other => Err(io::Error::other(format!("{AROUND}={other} is not known"))),
    };
    if let Err(error) = entered {
        skip(&format!("all with {AROUND}={around}: {error}"), "root, and a kernel with namespaces");
    }
    // Programs that this process starts are in them already.
    // SAFETY: this process has one thread.
    unsafe { std::env::remove_var(AROUND) };
}

fn refuse(case: &str, errno: i32) -> io::Result<()> {
    seccomp::refuse(&REFUSED, errno);
    let is_of_c_library = is_listed(OF_C_LIBRARY, case);
    seccomp::refuse(&[libc::SYS_clone3], if is_of_c_library { libc::ENOSYS } else { errno });
    // Programs started by exec, and processes with several barriers, need these calls.
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
    // SAFETY: this process has one thread, so the child may call anything.
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

/// Covers /proc with an empty directory, for this process and its children. The tests still find
/// the real one at a path that only they know.
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

/// Makes the root file system read-only for this process and its children, as on many devices.
/// Files that the tests create go to another one, in memory.
pub fn be_read_only() -> io::Result<()> {
    be_in_a_namespace()?;
    mount("tmpfs", MOUNT_POINT, 0)?;
    // SAFETY: this process has one thread.
    unsafe { std::env::set_var("TMPDIR", MOUNT_POINT) };
    mount("none", "/", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY)
}

/// Leaves in /dev only what small systems and containers have, without /dev/shm and /dev/log, for
/// this process and its children.
pub fn leave_little_of_dev() -> io::Result<()> {
    be_in_a_namespace()?;
    mount("tmpfs", MOUNT_POINT, 0)?;
    for name in DEVICES {
        let [from, to] = ["/dev", MOUNT_POINT].map(|dir| Path::new(dir).join(name));
        if from.exists() {
            fs::write(&to, "")?;
            mount(&from, &to, libc::MS_BIND)?;
        }
    }
    // Separate terminals, as in a container: the machine may have several instances.
    let pts = Path::new(MOUNT_POINT).join("pts");
    fs::create_dir(&pts)?;
    mount_with("devpts", &pts, 0, c"newinstance,ptmxmode=0666")?;
    std::os::unix::fs::symlink("pts/ptmx", Path::new(MOUNT_POINT).join("ptmx"))?;
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

/// Empties /dev for this process and its children.
pub fn hide_dev() -> io::Result<()> {
    be_in_a_namespace()?;
    mount("tmpfs", "/dev", 0)
}

/// Closes the standard streams. Failures are still reported, through a descriptor that no count
/// includes.
fn close_streams() -> io::Result<()> {
    let stderr = rustix::io::fcntl_dupfd_cloexec(io::stderr(), 100)?;
    let number = stderr.as_raw_fd();
    std::mem::forget(stderr);
    KEPT.store(number, Relaxed);
    std::panic::set_hook(Box::new(move |info| {
        let text = format!("{info}\n");
        // SAFETY: the descriptor is open, or the call fails; the text outlives the call.
        unsafe { libc::write(number, text.as_ptr().cast(), text.len()) };
    }));
    _ = io::stdout().flush();
    for stream in 0..3 {
        // SAFETY: afterwards it is used only to check that it is closed.
        unsafe { libc::close(stream) };
    }
    Ok(())
}

/// Enters a new mount namespace: mounts from now on affect only this process and its children.
fn be_in_a_namespace() -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    make_private()
}

fn make_private() -> io::Result<()> {
    mount("none", "/", libc::MS_REC | libc::MS_PRIVATE)
}

/// Mounts, moves or changes a mount, depending on the flags. The source also names the file system
/// type.
fn mount(from: impl AsRef<Path>, to: impl AsRef<Path>, flags: libc::c_ulong) -> io::Result<()> {
    mount_with(from, to, flags, c"")
}

/// Like [`mount`], with options for the file system.
fn mount_with(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    flags: libc::c_ulong,
    options: &CStr,
) -> io::Result<()> {
    let [from, to] = [from.as_ref(), to.as_ref()].map(|path| path.as_os_str().as_bytes());
    let (from, to) = (CString::new(from)?, CString::new(to)?);
    let options = options.as_ptr().cast();
    // SAFETY: all strings are NUL-terminated.
    check(unsafe { libc::mount(from.as_ptr(), to.as_ptr(), from.as_ptr(), flags, options) })
        .map(|_| ())
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
