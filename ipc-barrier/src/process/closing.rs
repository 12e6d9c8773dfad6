//! Which descriptors a child keeps, and what becomes of the numbers of the others.

#![expect(unsafe_code, reason = "closing descriptors by number, which nobody else can")]

use ipc_transport::SystemError;
use rustix::fd::{AsRawFd, BorrowedFd, RawFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{Resource, Rlimit, setrlimit};
use syscalls::{Sysno, syscall};

use super::decimal;

/// The first number that is neither standard input, output nor error.
const FIRST: RawFd = 3;

/// The call that fails where `/proc` is not mounted.
const STATUS: &str = "open /proc/self/status";

/// Cuts every descriptor of the process off from its file, but 0, 1, 2 and those listed.
///
/// Their numbers stay taken, so none of them comes to mean another file: whatever in this process
/// still uses one, such as a global logger, gets `EBADF` and harms no file that was opened since.
/// Each becomes a close-on-exec descriptor that can only name a file (O_PATH of open(2)). The soft
/// limit of open descriptors is raised by as many, up to the hard limit.
///
/// It takes two system calls for each descriptor and one for each number that is free below the
/// highest.
///
/// # Errors
/// `ENOENT` and the like where `/proc` is not mounted, `EMFILE` where two further descriptors are
/// over the hard limit. Some descriptors may be cut off by then, none is closed.
#[doc(alias = "O_PATH")]
pub fn detach_all_but(keep: &[RawFd]) -> Result<(), SystemError> {
    raise_limit(2);
    // No directory, or it would be a way to open files, and no program; nor `stat`, in whose place
    // qemu-user opens a file that can be written.
    let dead =
        rustix::fs::open(c"/proc/self/status", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(SystemError::of(STATUS))?;
    let mut detached = 0;
    for_each_other(keep, |fd| {
        let (dead, number) = (dead.as_raw_fd(), fd.as_raw_fd());
        if number != dead {
            // SAFETY: the call touches no memory; a value that owns the number goes on owning it.
            unsafe { syscall!(Sysno::dup3, dead, number, OFlags::CLOEXEC.bits()) }
                .map_err(|error| SystemError::of("dup3")(error.into_raw()))?;
            detached += 1;
        }
        Ok(())
    })?;
    raise_limit(detached);
    Ok(())
}

/// Raises the soft limit of open descriptors, up to the hard one. Where a sandbox refuses that, fewer
/// can be opened.
fn raise_limit(by: u64) {
    // The kernel's `struct rlimit64`, whose highest value is no limit (prlimit(2)). The call that
    // rustix has panics where a sandbox refuses it.
    let mut limit = [0_u64; 2];
    let nofile = Resource::Nofile as usize;
    // SAFETY: the kernel writes two numbers of 64 bits, and reads none.
    let asked = unsafe { syscall!(Sysno::prlimit64, 0, nofile, 0, limit.as_mut_ptr()) };
    let [soft, hard] = limit;
    if asked.is_ok() {
        let current = Some(soft.saturating_add(by).min(hard));
        _ = setrlimit(Resource::Nofile, Rlimit { current, maximum: Some(hard) });
    }
}

/// Closes every descriptor of the process but 0, 1, 2 and those listed.
///
/// It asks the kernel to (close_range(2), kernel 5.9). Where that is refused or unknown it asks for
/// each number up to the highest that is open, never up to the limit.
///
/// # Errors
/// `ENOENT` and the like where neither way is open; some may be closed then.
///
/// # Safety
/// Nothing in this process uses a descriptor that is closed here afterwards, nor drops a value
/// that owns one. A forked child that soon calls exec can promise that; for one that goes on with
/// its parent's code there is [`detach_all_but`].
pub unsafe fn close_all_but(keep: &[RawFd]) -> Result<(), SystemError> {
    close_gaps(keep).or_else(|_unknown_or_refused| {
        for_each_other(keep, |fd| {
            // SAFETY: that nobody uses the descriptor any more is the caller's promise.
            unsafe { rustix::io::close(fd.as_raw_fd()) };
            Ok(())
        })
    })
}

/// Marks every descriptor from 3 on close-on-exec: it asks the kernel to (close_range(2), since
/// 5.11), or else each number up to the highest that is open. Where neither way is open, some stay
/// as they are.
pub(super) fn close_all_at_exec() {
    const CLOSE_RANGE_CLOEXEC: usize = 4;
    // SAFETY: the call touches no memory and closes nothing now.
    let all = unsafe { syscall!(Sysno::close_range, FIRST, RawFd::MAX, CLOSE_RANGE_CLOEXEC) };
    if all.is_err() {
        _ = for_each_other(&[], |fd| {
            fcntl_setfd(fd, FdFlags::CLOEXEC).map_err(SystemError::of("fcntl"))
        });
    }
}

/// Returns whether a descriptor from 3 on may stay open at exec, as where `/proc` does not tell.
pub(super) fn may_any_survive_exec() -> bool {
    let mut any = false;
    let asked = for_each_other(&[], |fd| {
        any |= fcntl_getfd(fd).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC));
        Ok(())
    });
    any || asked.is_err()
}

fn close_gaps(keep: &[RawFd]) -> Result<(), syscalls::Errno> {
    let mut first = FIRST;
    loop {
        // The list is short, so that looking for the next one beats sorting it.
        let kept = keep.iter().copied().filter(|&kept| kept >= first).min().unwrap_or(RawFd::MAX);
        if first < kept {
            // SAFETY: the call reads and writes no memory; that nobody uses the descriptors is what
            // the caller of `close_all_but` promises.
            unsafe { syscall!(Sysno::close_range, first, kept - 1, 0) }?;
        }
        let Some(next) = kept.checked_add(1) else { return Ok(()) };
        first = next;
    }
}

/// Calls `act` with each descriptor that is open, but 0, 1, 2 and those to be kept. Asking for each up
/// to the highest takes a fraction of the time that the list in `/proc/self/fd` takes.
fn for_each_other(
    keep: &[RawFd],
    mut act: impl FnMut(BorrowedFd<'_>) -> Result<(), SystemError>,
) -> Result<(), SystemError> {
    for number in (FIRST..table_size()?).filter(|number| !keep.contains(number)) {
        // SAFETY: a number that is closed is an error, which is what the call is to tell.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        if fcntl_getfd(fd).is_ok() {
            act(fd)?;
        }
    }
    Ok(())
}

/// Returns a number above every open one: the size of this process's table of descriptors, at most
/// about twice the highest of them (proc(5)).
fn table_size() -> Result<RawFd, SystemError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let status = rustix::fs::open(c"/proc/self/status", flags, Mode::empty())
        .map_err(SystemError::of(STATUS))?;
    let mut buffer = [0; 1024];
    let len = rustix::io::read(&status, &mut buffer).map_err(SystemError::of("read"))?;
    let mut lines = buffer.get(..len).unwrap_or_default().split(|&byte| byte == b'\n');
    let size = lines.find_map(|line| line.strip_prefix(b"FDSize:\t")).and_then(decimal::number);
    size.and_then(|size| RawFd::try_from(size).ok()).ok_or(SystemError::of(STATUS)(Errno::NOENT))
}
