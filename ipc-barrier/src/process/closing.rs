//! Which descriptors a child keeps, and how the others are closed or detached.

#![expect(unsafe_code, reason = "descriptors are closed by number, without their owners")]

use ipc_transport::{SystemError, limits_of};
use rustix::fd::{AsRawFd, BorrowedFd, RawFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{Resource, Rlimit, setrlimit};
use syscalls::{Sysno, syscall};

use super::decimal;

/// The first descriptor after standard input, output and error.
const FIRST: RawFd = 3;

/// The call that fails if `/proc` is not mounted.
const STATUS: &str = "open /proc/self/status";

/// Detaches every descriptor of the process from its file, except 0, 1, 2 and those listed.
///
/// The numbers stay taken, so none is reused for another file. Code that still uses one, such as a
/// global logger, gets `EBADF` and cannot damage a file that was opened later. Each number becomes
/// a close-on-exec `O_PATH` descriptor (open(2)). The soft limit of open descriptors is raised by
/// the number of detached ones, up to the hard limit.
///
/// Costs two system calls for each open descriptor, and one for each free number below the highest.
///
/// # Errors
/// `ENOENT` or a similar errno if `/proc` is not mounted, `EMFILE` if two more descriptors exceed
/// the hard limit. Some descriptors may already be detached; none is closed.
#[doc(alias = "O_PATH")]
pub fn detach_all_but(keep: &[RawFd]) -> Result<(), SystemError> {
    raise_limit(2);
    // Not a directory, which could be used to open files, and not a program. Not `stat` either:
    // qemu-user replaces it by a file that can be written.
    let dead =
        rustix::fs::open(c"/proc/self/status", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(SystemError::of(STATUS))?;
    let mut detached = 0;
    for_each_other(keep, |fd| {
        let (dead, number) = (dead.as_raw_fd(), fd.as_raw_fd());
        if number != dead {
            // SAFETY: the call touches no memory. A value that owns the number still owns it.
            unsafe { syscall!(Sysno::dup3, dead, number, OFlags::CLOEXEC.bits()) }
                .map_err(|error| SystemError::of("dup3")(error.into_raw()))?;
            detached += 1;
        }
        Ok(())
    })?;
    raise_limit(detached);
    Ok(())
}

/// Raises the soft limit of open descriptors, up to the hard limit. A sandbox may refuse this. Then
/// fewer descriptors can be opened.
fn raise_limit(by: u64) {
    if let Some([soft, hard]) = limits_of(Resource::Nofile as usize) {
        let current = Some(soft.saturating_add(by).min(hard));
        _ = setrlimit(Resource::Nofile, Rlimit { current, maximum: Some(hard) });
    }
}

/// Closes every descriptor of the process, except 0, 1, 2 and those listed.
///
/// Uses close_range(2) (kernel 5.9). If that is refused or unknown, it tries each number up to the
/// highest open one, never up to the limit.
///
/// # Errors
/// `ENOENT` or a similar errno if `/proc` is needed and not mounted. Some descriptors may already
/// be closed.
///
/// # Safety
/// Afterwards, nothing in this process may use a closed descriptor, or drop a value that owns one.
/// A forked child that soon calls exec can ensure this. For a child that continues with its
/// parent's code, use [`detach_all_but`].
pub unsafe fn close_all_but(keep: &[RawFd]) -> Result<(), SystemError> {
    close_gaps(keep).or_else(|_unknown_or_refused| {
        for_each_other(keep, |fd| {
            // SAFETY: the caller promises that nothing uses the descriptor any more.
            unsafe { rustix::io::close(fd.as_raw_fd()) };
            Ok(())
        })
    })
}

/// Marks every descriptor from 3 on close-on-exec, by close_range(2) (kernel 5.11), or one by one
/// up to the highest open number. Without either, some descriptors stay unchanged.
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

/// Returns whether a descriptor from 3 on may stay open at exec. True if `/proc` cannot be read.
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
        // The list is short, so a search for the next one beats sorting.
        let kept = keep.iter().copied().filter(|&kept| kept >= first).min().unwrap_or(RawFd::MAX);
        if first < kept {
            // SAFETY: the call touches no memory. The caller of `close_all_but` promises that
            // nothing uses the descriptors.
            unsafe { syscall!(Sysno::close_range, first, kept - 1, 0) }?;
        }
        let Some(next) = kept.checked_add(1) else { return Ok(()) };
        first = next;
    }
}

/// Calls `act` with each open descriptor, except 0, 1, 2 and those to keep. Trying each number up
/// to the highest takes a fraction of the time of reading `/proc/self/fd`.
fn for_each_other(
    keep: &[RawFd],
    mut act: impl FnMut(BorrowedFd<'_>) -> Result<(), SystemError>,
) -> Result<(), SystemError> {
    for number in (FIRST..table_size()?).filter(|number| !keep.contains(number)) {
        // SAFETY: the call only asks whether the number is open.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        if fcntl_getfd(fd).is_ok() {
            act(fd)?;
        }
    }
    Ok(())
}

/// Returns a number above every open descriptor: the size of this process's descriptor table, at
/// most about twice the highest descriptor (proc(5)).
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
