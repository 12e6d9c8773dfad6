//! The kernel's error numbers as error types, with and without `std`.

use core::fmt;

/// A kernel error number (errno(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

/// The names of numbers 1 to 34, which are the same on all platforms.
const NAMES: &str = "EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM \
    EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY \
    ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE";

/// `ENOSYS`, which has other numbers on mips and sparc.
const ENOSYS: Option<i32> =
    if cfg!(any(target_arch = "mips", target_arch = "mips64", target_arch = "sparc64")) {
        None
    } else {
        Some(38)
    };

impl Errno {
    /// Returns the symbolic name of `ENOSYS`, and of the numbers 1 to 34, which are the same on all
    /// Linux platforms. Otherwise `None`.
    pub fn name(self) -> Option<&'static str> {
        if Some(self.0) == ENOSYS {
            return Some("ENOSYS");
        }
        let index = usize::try_from(self.0).ok()?.checked_sub(1)?;
        // Splitting bytes instead of text saves half a kilobyte of code.
        let mut names = NAMES.as_bytes().split(|&byte| byte == b' ');
        let start: usize = names.by_ref().take(index).map(|name| name.len() + 1).sum();
        NAMES.get(start..start + names.next()?.len())
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "error number {}", self.0),
        }
    }
}

impl core::error::Error for Errno {}

impl From<i32> for Errno {
    fn from(number: i32) -> Self {
        Self(number)
    }
}

#[cfg(feature = "socket")]
impl From<rustix::io::Errno> for Errno {
    fn from(error: rustix::io::Errno) -> Self {
        Self(error.raw_os_error())
    }
}

/// The number of an error from the kernel; zero for any other error.
#[cfg(feature = "std")]
impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(0))
    }
}

/// A failed system call: its name and the kernel's error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemError {
    /// The call, as its man page names it.
    pub call: &'static str,
    /// The kernel's error number.
    pub errno: Errno,
}

impl SystemError {
    /// Returns a function that adds the name of the call to an error, for `map_err`.
    pub fn of<E: Into<Errno>>(call: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self { call, errno: error.into() }
    }
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.errno)
    }
}

impl core::error::Error for SystemError {}

#[cfg(feature = "std")]
impl From<SystemError> for std::io::Error {
    fn from(error: SystemError) -> Self {
        Self::from_raw_os_error(error.errno.0)
    }
}

#[cfg(all(test, feature = "socket"))]
mod tests {
    use super::*;

    #[test]
    fn names_agree_with_the_kernel() {
        assert_eq!(Errno::from(rustix::io::Errno::NOSPC).name(), Some("ENOSPC"));
        assert_eq!(Errno::from(rustix::io::Errno::MFILE).name(), Some("EMFILE"));
        assert_eq!(Errno::from(rustix::io::Errno::PIPE).name(), Some("EPIPE"));
        assert_eq!(Errno(1).name(), Some("EPERM"));
        assert_eq!(Errno::from(rustix::io::Errno::NOSYS).name(), Some("ENOSYS"));
        assert_eq!([-1, 0, 35].map(|number| Errno(number).name()), [None; 3]);
    }

    #[test]
    fn system_error_shows_call_and_number() {
        let error = SystemError::of::<i32>("socketpair")(24);
        assert_eq!(std::format!("{error}"), "socketpair: EMFILE (24)");
    }
}
