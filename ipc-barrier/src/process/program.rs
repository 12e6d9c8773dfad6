//! A program to be executed, with its arguments and its environment as the kernel takes them, and
//! why it does not run.

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

/// Most arguments, and most variables of an environment.
const MOST: usize = 64;

/// Descriptors that a program is given, with three standard streams.
const GIVEN: usize = FDS + 3;

/// Bytes of the longest path of a descriptor, with the zero at its end.
const PATH: usize = 32;

/// A program to be started. A path becomes one by `into`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Program<'a> {
    /// By its path, as execve(2) takes it: `PATH` is not searched.
    Path(&'a CStr),
    /// By an open file, which stays the same program whatever becomes of its path (execveat(2),
    /// kernel 3.19, or `/proc/self/fd`: either suffices). One opened with `O_PATH` will do. Not for
    /// a script: its interpreter would have to open what exec has closed.
    Open(BorrowedFd<'a>),
}

impl<'a> Program<'a> {
    /// Returns its path, which is the usual first argument; `/proc/self/exe` for an open file.
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

/// Pointers to strings, and a null pointer at their end.
type Pointers = Vec<*const c_char, { MOST + 1 }>;

/// A program and what it is given, ready for a child that makes nothing but system calls.
pub(super) struct Ready<'a> {
    /// The program's descriptors, each with the number that it will have.
    pub(super) fds: Vec<(OwnedFd, RawFd), GIVEN>,
    /// The program's file, and the ruleset, which lie beside these numbers.
    pub(super) file: Option<OwnedFd>,
    pub(super) ruleset: Option<OwnedFd>,
    path: &'a CStr,
    path_of_file: Vec<u8, PATH>,
    args: Pointers,
    env: Option<Pointers>,
    inherited: *const *const c_char,
}

impl<'a> Ready<'a> {
    /// Prepares a program, which has the `inherited` environment if the set-up says none.
    pub(super) fn new(
        setup: &'a Setup<'_>,
        program: Program<'a>,
        args: &'a [&'a CStr],
        inherited: *const *const c_char,
    ) -> Result<Self, SpawnError> {
        let beside = |fd| duplicate_beside(fd, setup);
        let mut fds = Vec::new();
        // There is room for them all.
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

    /// Returns where the program is found; by an open file, in `/proc`.
    pub(super) fn path(&self) -> &CStr {
        let of_file = CStr::from_bytes_with_nul(&self.path_of_file).unwrap_or_default();
        if self.file.is_some() { of_file } else { self.path }
    }

    /// Returns the arguments and the environment.
    pub(super) fn lists(&self) -> [*const *const c_char; 2] {
        [self.args.as_ptr(), self.env.as_ref().map_or(self.inherited, |env| env.as_ptr())]
    }

    /// Becomes the program; returns only where that has failed, and why.
    pub(super) fn exec(&self) -> Reason {
        /// Of linux/fcntl.h.
        const AT_EMPTY_PATH: usize = 0x1000;
        let ([args, env], empty, path) = (self.lists(), c"".as_ptr(), self.path().as_ptr());
        let mut failed = Err(Errno::ENOSYS);
        if let Some(file) = self.file.as_ref().map(AsRawFd::as_raw_fd) {
            // SAFETY: the lists end with a null pointer, the strings with a zero; all are borrowed.
            failed = unsafe { syscall!(Sysno::execveat, file, empty, args, env, AT_EMPTY_PATH) };
        }
        // A filter may permit the older call only.
        if matches!(failed, Err(Errno::ENOSYS | Errno::EPERM)) {
            // SAFETY: as above.
            failed = unsafe { syscall!(Sysno::execve, path, args, env) };
        }
        self.failed(failed.map_or_else(Errno::into_raw, |_| 0))
    }

    /// Says why an exec has failed.
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

/// Returns whether a number is open beyond an exec. At 0 to 2 a process that was started with them
/// closed may have files that do not.
fn survives(number: RawFd) -> bool {
    // SAFETY: the number is only asked about; that it may not be open is the question.
    let flags = fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) });
    flags.is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC))
}

/// Duplicates a descriptor, close-on-exec, to a number above 2 that the program is not given.
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

/// Why a program was not started. Nothing runs, and neither a zombie nor a descriptor is left; the
/// start may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpawnError {
    /// This process lacks a descriptor (`EMFILE`), or a sandbox refuses what is needed before the
    /// fork. Close some, or raise `RLIMIT_NOFILE`.
    System(SystemError),
    /// There are too many processes, or too little memory. That passes.
    Fork(ForkError),
    /// A step of the set-up or the exec failed; the reason says which, and why.
    Failed(Reason),
    /// The child did not come to its exec by the deadline. It was killed; if it sleeps in the
    /// kernel, it ends when that lets it, and stays a zombie then.
    TimedOut,
    /// The child ended in its set-up without a word: killed by a filter (`SIGSYS`), a limit, or
    /// somebody else.
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
            Self::System(error) => write!(f, "cannot start a program: {error}"),
            Self::Fork(error) => write!(f, "cannot start a program: {error}; try again later"),
            Self::Failed(reason) => write!(f, "the program was not started: {reason}"),
            Self::TimedOut => f.write_str(
                "the program was not started by the deadline; allow more time, or look at its file \
                 system",
            ),
            Self::Died(ended) => write!(
                f,
                "the child {ended} before it became the program; look at its filter and its limits"
            ),
        }
    }
}

impl core::error::Error for SpawnError {}
