//! A program to execute, with its arguments and environment in the kernel's form, and the errors of
//! starting one.

#![expect(unsafe_code, reason = "exec by system calls, which take pointers")]

use core::ffi::{CStr, c_char};
use core::{fmt, ptr};

use heapless::Vec;
use ipc_transport::SystemError;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_getfd};
use rustix::path::DecInt;
use syscalls::{Errno, Sysno, syscall};

use super::child::Ended;
use super::decimal::joined;
use super::fork::ForkError;
use super::reason::{Reason, failed};
use super::setup::{FDS, Setup, TOO_LONG};

/// Most arguments, and most environment variables.
const MOST: usize = 64;

/// Most descriptors that a program is given, including the three standard streams.
const GIVEN: usize = FDS + 3;

/// Length of the longest `/proc` path of a descriptor, with its final zero.
const PATH: usize = 32;

/// A program to start. `into` converts a path.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Program<'a> {
    /// By its path, as for execve(2). `PATH` is not searched.
    Path(&'a CStr),
    /// By an open file, so a replaced path does not change the program. Needs execveat(2) (kernel
    /// 3.19) or `/proc/self/fd`. A file opened with `O_PATH` suffices. Not for scripts: the
    /// interpreter would have to open a descriptor that exec has closed.
    Open(BorrowedFd<'a>),
}

impl<'a> Program<'a> {
    /// Returns the program's path, which is the usual first argument. For an open file it is
    /// `/proc/self/exe`.
    pub const fn name(&self) -> &'a CStr {
        match *self {
            Self::Path(path) => path,
            Self::Open(_) => c"/proc/self/exe",
        }
    }
}

impl<'a> From<&'a CStr> for Program<'a> {
    fn from(path: &'a CStr) -> Self {
        Self::Path(path)
    }
}

/// Pointers to strings, and a final null pointer.
type Pointers = Vec<*const c_char, { MOST + 1 }>;

/// A program with all that it is given, prepared for a child that makes nothing but system calls.
pub(super) struct Ready<'a> {
    /// The program's descriptors, each with the number that it will have.
    pub(super) fds: Vec<(OwnedFd, RawFd), GIVEN>,
    /// The program's file, and the ruleset. Neither has one of these numbers.
    pub(super) file: Option<OwnedFd>,
    pub(super) ruleset: Option<OwnedFd>,
    path: &'a CStr,
    path_of_file: Vec<u8, PATH>,
    args: Pointers,
    env: Option<Pointers>,
    inherited: *const *const c_char,
}

impl<'a> Ready<'a> {
    /// Prepares a program. It gets the `inherited` environment if the set-up sets none.
    pub(super) fn new(
        setup: &'a Setup<'_>,
        program: Program<'a>,
        args: &'a [&'a CStr],
        inherited: *const *const c_char,
    ) -> Result<Self, SpawnError> {
        let beside = |fd| duplicate_beside(fd, setup);
        let mut fds = Vec::new();
        // `GIVEN` has room for all of them.
        for number in (0..3).filter(|&number| !setup.has_number(number) && !survives(number)) {
            let null = rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty());
            let null = null.map_err(failed("standard streams", b"open /dev/null"))?;
            _ = fds.push((duplicate_beside(null.as_fd(), setup)?, number));
        }
        for &(fd, number) in &setup.fds {
            _ = fds.push((beside(fd)?, number));
        }
        let file = match program {
            Program::Path(_) => None,
            Program::Open(fd) => Some(beside(fd)?),
        };
        let ruleset = setup.steps.as_ref().and_then(|steps| steps.landlock);
        let number = file.as_ref().map_or(0, AsRawFd::as_raw_fd);
        Ok(Self {
            fds,
            file,
            ruleset: ruleset.map(beside).transpose()?,
            path: program.name(),
            path_of_file: joined(&[b"/proc/self/fd/", DecInt::new(number).as_bytes(), b"\0"]),
            args: pointers(args, "arguments")?,
            env: setup.env.map(|env| pointers(env, "environment")).transpose()?,
            inherited,
        })
    }

    /// Returns the path to execute. For an open file it is in `/proc`.
    pub(super) fn path(&self) -> &CStr {
        let of_file = CStr::from_bytes_with_nul(&self.path_of_file).unwrap_or_default();
        if self.file.is_some() { of_file } else { self.path }
    }

    /// Returns the arguments and the environment.
    pub(super) fn lists(&self) -> [*const *const c_char; 2] {
        [self.args.as_ptr(), self.env.as_ref().map_or(self.inherited, |env| env.as_ptr())]
    }

    /// Executes the program. Returns only on failure, with the reason.
    pub(super) fn exec(&self) -> Reason {
        /// From linux/fcntl.h.
        const AT_EMPTY_PATH: usize = 0x1000;
        let ([args, env], empty, path) = (self.lists(), c"".as_ptr(), self.path().as_ptr());
        let mut failed = Err(Errno::ENOSYS);
        if let Some(file) = self.file.as_ref().map(AsRawFd::as_raw_fd) {
            // SAFETY: the lists end with a null pointer, the strings with a zero, and all of them
            // outlive the call.
            failed = unsafe { syscall!(Sysno::execveat, file, empty, args, env, AT_EMPTY_PATH) };
        }
        // A filter may permit only the older call.
        if matches!(failed, Err(Errno::ENOSYS | Errno::EPERM)) {
            // SAFETY: as above.
            failed = unsafe { syscall!(Sysno::execve, path, args, env) };
        }
        self.failed(failed.map_or_else(Errno::into_raw, |_| 0))
    }

    /// Makes the reason for a failed exec.
    pub(super) fn failed(&self, errno: i32) -> Reason {
        failed("exec", self.path().to_bytes())(errno)
    }
}

fn pointers(strings: &[&CStr], what: &str) -> Result<Pointers, Reason> {
    if strings.len() > MOST {
        return Err(Reason::new("exec", TOO_LONG, what));
    }
    Ok(strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect())
}

/// Returns whether a descriptor stays open at exec. In a process that was started with 0 to 2
/// closed, these numbers may be files that do not.
fn survives(number: RawFd) -> bool {
    // SAFETY: the call only asks whether the number is open.
    let flags = fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) });
    flags.is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC))
}

/// Duplicates a descriptor, close-on-exec, to a number above 2 that the set-up does not use.
pub(super) fn duplicate_beside(
    fd: BorrowedFd<'_>,
    setup: &Setup<'_>,
) -> Result<OwnedFd, SystemError> {
    let mut from = 3;
    loop {
        let copy = fcntl_dupfd_cloexec(fd, from).map_err(SystemError::of("fcntl"))?;
        if !setup.has_number(copy.as_raw_fd()) {
            return Ok(copy);
        }
        from = copy.as_raw_fd() + 1;
    }
}

/// Why a program was not started. Nothing runs, and no zombie or descriptor is left, except as
/// [`TimedOut`](Self::TimedOut) says. The call may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpawnError {
    /// A call before the fork failed. For `EMFILE`, close descriptors or raise `RLIMIT_NOFILE`.
    /// Otherwise a sandbox refuses the call.
    System(SystemError),
    /// There are too many processes, or too little memory. Try again later.
    Fork(ForkError),
    /// A step of the set-up or the exec failed. The reason says which step, and why.
    Failed(Reason),
    /// The child did not reach its exec by the deadline, and was killed. If it is in
    /// uninterruptible sleep, it ends later and stays a zombie.
    TimedOut,
    /// The child ended during its set-up without reporting an error: a filter (`SIGSYS`), a limit
    /// or another process killed it.
    Died(Ended),
}

impl From<SystemError> for SpawnError {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}

impl From<ForkError> for SpawnError {
    fn from(error: ForkError) -> Self {
        Self::Fork(error)
    }
}

impl From<Reason> for SpawnError {
    fn from(reason: Reason) -> Self {
        Self::Failed(reason)
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => write!(f, "cannot start the program: {error}"),
            Self::Fork(error) => write!(f, "cannot start the program: {error}; try again later"),
            Self::Failed(reason) => write!(f, "cannot start the program: {reason}"),
            Self::TimedOut => f.write_str(
                "the program did not start by the deadline; allow more time, or check its file \
                 system",
            ),
            Self::Died(ended) => {
                write!(f, "the child ended before its exec ({ended}); check its filter and limits")
            }
        }
    }
}

impl core::error::Error for SpawnError {}
