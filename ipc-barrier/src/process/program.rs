//! A program to be executed, with its arguments and its environment as the kernel takes them.

#![expect(unsafe_code, reason = "exec by system calls, which take pointers")]

use core::ffi::{CStr, c_char};
use core::ptr;

use heapless::{String, Vec};
use ipc_transport::{Errno, SystemError};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::io::fcntl_dupfd_cloexec;
use syscalls::{Sysno, syscall};

use super::reason::{Reason, failed};
use super::spawn_error::SpawnError;

/// Most arguments, and most variables of an environment.
const MOST: usize = 64;

/// What a list may not have more of (E2BIG).
pub(super) const TOO_MANY: Errno = Errno(7);

/// Bytes of the longest path of a descriptor, with the zero at its end.
const PATH: usize = 32;

/// A program to be started: a path, or an open file, and perhaps an environment.
///
/// ```
/// use ipc_barrier::process::Program;
///
/// let program = Program::at(c"/bin/sh").env(&[c"PATH=/bin", c"LANG=C"]);
/// assert_eq!(program.name(), c"/bin/sh");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    file: File<'a>,
    env: Option<&'a [&'a CStr]>,
}

#[derive(Clone, Copy, Debug)]
enum File<'a> {
    Path(&'a CStr),
    Open(BorrowedFd<'a>),
}

impl<'a> Program<'a> {
    /// Names a program by its path, as execve(2) does: `PATH` is not searched.
    pub const fn at(path: &'a CStr) -> Self {
        Self { file: File::Path(path), env: None }
    }

    /// Takes an open file, which stays the same program whatever becomes of its path (execveat(2),
    /// kernel 3.19; elsewhere its path in `/proc/self/fd`). A descriptor opened with `O_PATH` will
    /// do. A script cannot be given so: its interpreter would have to open what exec has closed.
    #[doc(alias = "fexecve")]
    pub const fn open(file: BorrowedFd<'a>) -> Self {
        Self { file: File::Open(file), env: None }
    }

    /// Sets the environment, at most 64 of `NAME=value`. Without this the program inherits that of
    /// the C library, which no other thread may change meanwhile; without a C library it has none.
    #[must_use]
    pub const fn env(self, env: &'a [&'a CStr]) -> Self {
        Self { env: Some(env), ..self }
    }

    /// Returns the path, which is the usual first argument; `/proc/self/exe` for an open file.
    pub const fn name(&self) -> &'a CStr {
        match self.file {
            File::Path(path) => path,
            File::Open(_) => c"/proc/self/exe",
        }
    }
}

impl<'a> From<&'a CStr> for Program<'a> {
    fn from(path: &'a CStr) -> Self {
        Self::at(path)
    }
}

impl<'a> From<&Program<'a>> for Program<'a> {
    fn from(program: &Program<'a>) -> Self {
        *program
    }
}

/// A program, ready for an exec that does nothing but the system call.
pub(super) struct Ready<'a> {
    /// The program's file, at a number that the program itself is not given.
    file: Option<OwnedFd>,
    path: &'a CStr,
    path_of_file: String<PATH>,
    args: Pointers,
    env: Option<Pointers>,
    inherited: *const *const c_char,
}

/// Pointers to strings, and a null pointer at their end.
type Pointers = Vec<*const c_char, { MOST + 1 }>;

impl<'a> Ready<'a> {
    /// Prepares a program whose descriptors will have these numbers.
    pub(super) fn new(
        program: Program<'a>,
        args: &'a [&'a CStr],
        inherited: *const *const c_char,
        numbers: &[RawFd],
    ) -> Result<Self, SpawnError> {
        let file = match program.file {
            File::Path(_) => None,
            File::Open(fd) => Some(duplicate_beside(fd, numbers)?),
        };
        let number = file.as_ref().map_or(0, AsRawFd::as_raw_fd);
        Ok(Self {
            file,
            path: program.name(),
            path_of_file: heapless::format!("/proc/self/fd/{number}\0").unwrap_or_default(),
            args: pointers(args, "arguments")?,
            env: program.env.map(|env| pointers(env, "environment")).transpose()?,
            inherited,
        })
    }

    /// Where the program is found; by an open file, in `/proc`.
    pub(super) fn path(&self) -> &CStr {
        let of_file = CStr::from_bytes_with_nul(self.path_of_file.as_bytes()).unwrap_or_default();
        if self.file.is_some() { of_file } else { self.path }
    }

    pub(super) fn args(&self) -> *const *const c_char {
        self.args.as_ptr()
    }

    pub(super) fn env(&self) -> *const *const c_char {
        self.env.as_ref().map_or(self.inherited, |env| env.as_ptr())
    }

    /// Becomes the program; returns only where that has failed, and why.
    pub(super) fn exec(&self) -> Reason {
        let by_file = self.file.as_ref().map(|file| self.exec_file(file.as_fd()));
        let errno = match by_file {
            // Unknown or refused by a filter, which may permit the older call.
            None | Some(syscalls::Errno::ENOSYS | syscalls::Errno::EPERM) => self.exec_path(),
            Some(errno) => errno,
        };
        self.failed(Errno(errno.into_raw()))
    }

    /// Why an exec has failed.
    pub(super) fn failed(&self, errno: Errno) -> Reason {
        failed("exec", self.path().to_bytes())(errno)
    }

    fn exec_file(&self, file: BorrowedFd<'_>) -> syscalls::Errno {
        /// Of linux/fcntl.h.
        const AT_EMPTY_PATH: usize = 0x1000;
        let (empty, file) = (c"".as_ptr(), file.as_raw_fd());
        // SAFETY: the lists end with a null pointer, and all strings with a zero; they are borrowed.
        unsafe { syscall!(Sysno::execveat, file, empty, self.args(), self.env(), AT_EMPTY_PATH) }
            .err()
            .unwrap_or(syscalls::Errno::ENOSYS)
    }

    fn exec_path(&self) -> syscalls::Errno {
        // SAFETY: as above.
        unsafe { syscall!(Sysno::execve, self.path().as_ptr(), self.args(), self.env()) }
            .err()
            .unwrap_or(syscalls::Errno::ENOSYS)
    }
}

fn pointers(strings: &[&CStr], what: &str) -> Result<Pointers, Reason> {
    if strings.len() > MOST {
        return Err(Reason::new("exec", TOO_MANY, what));
    }
    Ok(strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect())
}

/// Duplicates a descriptor, close-on-exec, to a number above 2 that is none of these.
pub(super) fn duplicate_beside(
    fd: BorrowedFd<'_>,
    numbers: &[RawFd],
) -> Result<OwnedFd, SystemError> {
    let mut from = 3;
    loop {
        let copy = fcntl_dupfd_cloexec(fd, from).map_err(SystemError::of("fcntl"))?;
        if !numbers.contains(&copy.as_raw_fd()) {
            return Ok(copy);
        }
        from = copy.as_raw_fd() + 1;
    }
}
