//! A barrier across exec: an end is handed to the next program as a line of text.

#![expect(unsafe_code, reason = "a descriptor's number does not say who owns it")]

use core::fmt;

use heapless::Vec;
use ipc_transport::{SharedPage, SystemError};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

use super::end::{End, Role};
use super::held::Held;
use super::lane::{Half, Lane};
use super::memory::WORDS;
use super::rules::Rules;

/// The first word of an exported end: the format and its version.
const FORMAT: &str = "ipc-barrier-3";

/// Most descriptors of an end: three of the lane, the memory, and a pidfd.
const FDS: usize = 5;

/// An end that is ready for exec. While this value lives, its descriptors stay open across exec.
///
/// Its text (`Display`) is at most 120 bytes of ASCII without spaces. Pass it to the next program
/// in an argument or an environment variable; that program takes over the end with [`End::import`].
/// If exec fails, drop this value: the descriptors become close-on-exec again, and the end still
/// works.
///
/// The end stays borrowed, so it cannot change after the text was made:
///
/// ```compile_fail,E0499
/// # use ipc_barrier::{Barrier, Page};
/// let mut end = Barrier::<Page>::open_for_exec()?.into_child();
/// let exported = end.export()?;
/// end.abort();
/// drop(exported);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```
/// # use ipc_barrier::{Barrier, Page};
/// let mut end = Barrier::<Page>::open_for_exec()?.into_child();
/// let exported = end.export()?.to_string(); // the borrow ends: the text alone keeps nothing open
/// end.abort();
/// drop(exported);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Exported<'end, R: Role, L: Lane>(&'end End<R, L>);

impl<R: Role, L: Lane> End<R, L> {
    /// Prepares this end for exec: turns close-on-exec off (fcntl(2)). The barrier must have been
    /// [opened for exec](crate::Barrier::open_for_exec). A [watched](End::watching) pidfd goes
    /// along. The descriptor of [`watch`](Self::watch) does not.
    ///
    /// If another thread starts a program at the same time, that program inherits the descriptors
    /// too.
    ///
    /// ```no_run
    /// # #[cfg(feature = "std")] {
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    /// # use ipc_barrier::{Barrier, Page};
    ///
    /// let mut end = Barrier::<Page>::open_for_exec()?.into_child();
    /// let exported = end.export()?;
    /// let error = Command::new("/usr/sbin/server").env("BARRIER", exported.to_string()).exec();
    /// drop(exported);
    /// end.fail("exec", &error, "/usr/sbin/server");
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ExecError::Ended`], [`ExecError::NotForExec`], or [`ExecError::System`] if a descriptor is
    /// broken. The end is unchanged.
    pub fn export(&mut self) -> Result<Exported<'_, R, L>, ExecError> {
        if !self.rules.is_open() {
            return Err(ExecError::Ended);
        }
        self.half.file.as_ref().ok_or(ExecError::NotForExec)?;
        // Made first, so that a failure halfway is undone by its drop.
        let exported = Exported(self);
        set(&exported.0.half, FdFlags::empty())?;
        Ok(exported)
    }

    /// Takes over an end that the program before exec has exported. The end keeps its count of
    /// placed and drained tokens. Its descriptors are close-on-exec again. Any text is accepted as
    /// input; one that was not exported by an end of this role and lane is refused.
    ///
    /// The descriptor of [`watch`](Self::watch) shows only later news. Make a `try_` call to find
    /// earlier news.
    ///
    /// # Errors
    /// See [`ExecError`].
    ///
    /// # Safety
    /// Nothing else in this process may own the descriptors that the text names, now or later. This
    /// holds for a text that [`export`](Self::export) made before exec, if it is imported only
    /// once.
    pub unsafe fn import(text: &str) -> Result<Self, ExecError> {
        let (ahead, numbers) = parse(text, L::NAME, R::INDEX).ok_or(ExecError::Malformed)?;
        for &number in &numbers {
            // SAFETY: the call only asks about the number. The caller promises that nothing closes
            // it.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            fcntl_getfd(fd).map_err(|_| ExecError::NotOpen { number })?;
        }
        let [outgoing, incoming, own, file, pidfd @ ..] = numbers.as_slice() else {
            return Err(ExecError::Malformed);
        };
        // SAFETY: it is open, and the caller promises that it stays open.
        let memory = SharedPage::of_file(unsafe { BorrowedFd::borrow_raw(*file) }, WORDS);
        let memory = memory.map_err(ExecError::System)?;
        let take = |number: &RawFd| {
            // SAFETY: it is open, and the caller promises that nothing else owns it.
            Held::from(unsafe { OwnedFd::from_raw_fd(*number) })
        };
        let [outgoing, incoming, own] = [outgoing, incoming, own].map(take);
        let (file, pidfd) = (Some(take(file)), pidfd.first().map(take));
        let half = Half { index: R::INDEX, outgoing, incoming, own, memory, file, pidfd };
        set(&half, FdFlags::CLOEXEC)?;
        // As in a new barrier: the first post shows to a side that watches. The next look finds
        // earlier posts, and reports a failure of this call.
        _ = L::arm(&half);
        Ok(Self::new(Rules { ahead, ..Rules::NEW }, half))
    }
}

fn set(half: &Half, flags: FdFlags) -> Result<(), ExecError> {
    let set = half.descriptors().try_for_each(|fd| fcntl_setfd(fd, flags));
    set.map_err(|error| ExecError::System(SystemError::of("fcntl")(error)))
}

impl<R: Role, L: Lane> Drop for Exported<'_, R, L> {
    fn drop(&mut self) {
        // Nothing can be done about a failure here.
        _ = set(&self.0.half, FdFlags::CLOEXEC);
    }
}

impl<R: Role, L: Lane> fmt::Display for Exported<'_, R, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let End { half, rules, .. } = self.0;
        write!(f, "{FORMAT}:{}:{}:{}", L::NAME, R::INDEX, rules.ahead)?;
        half.descriptors().try_for_each(|fd| write!(f, ":{}", fd.as_fd().as_raw_fd()))
    }
}

/// Parses an untrusted text: the tokens ahead, and the descriptors. `None` if it is not of an end
/// on this lane and side.
fn parse(text: &str, lane: &str, side: usize) -> Option<(i64, Vec<RawFd, FDS>)> {
    let mut parts = text.split(':');
    if parts.next()? != FORMAT || parts.next()? != lane || parts.next()?.parse() != Ok(side) {
        return None;
    }
    let ahead = parts.next()?.parse().ok()?;
    let mut numbers = Vec::new();
    for part in parts {
        let number = part.parse().ok().filter(|number| *number >= 0 && !numbers.contains(number));
        numbers.push(number?).ok()?;
    }
    Some((ahead, numbers))
}

/// Why an end was not exported or imported. No descriptor was closed or taken over. The one
/// exception is a failed fcntl(2) at the end of an import, which closes them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecError {
    /// One side has already aborted or gone, so the next program could do nothing with the end.
    Ended,
    /// The barrier was not opened for exec, so its memory would not survive an exec.
    NotForExec,
    /// The text was not produced by an export, is truncated, or is of an end on another lane or of
    /// the other side.
    Malformed,
    /// A descriptor that the text names is not open. It was closed before exec or by it.
    NotOpen {
        /// The descriptor.
        number: RawFd,
    },
    /// A system call failed. Also returned if a descriptor is not of the kind that the text claims.
    System(SystemError),
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("cannot export: the barrier has ended"),
            Self::NotForExec => f.write_str("cannot export: open the barrier with open_for_exec"),
            Self::Malformed => f.write_str("cannot import: the text is not of this side and lane"),
            Self::NotOpen { number } => write!(f, "cannot import: descriptor {number} is not open"),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ExecError {}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::ToString;

    use super::*;
    use crate::{Barrier, ChildEnd, Page, ParentEnd};

    #[test]
    fn a_text_keeps_the_state_of_the_end() {
        let mut end = Barrier::<Page>::open_for_exec().unwrap().into_parent();
        assert!(end.place().is_ok() && end.place().is_ok());
        let exported = end.export().unwrap();
        let text = exported.to_string();
        assert!(text.len() <= 120 && text.is_ascii() && !text.contains(' '), "{text}");
        let (ahead, numbers) = parse(&text, "page", 0).unwrap();
        assert_eq!((ahead, numbers.len()), (2, 4));
    }

    #[test]
    fn an_end_that_has_ended_is_not_exported() {
        let mut end = Barrier::<Page>::open_for_exec().unwrap().into_parent();
        end.abort();
        assert_eq!(end.export().unwrap_err(), ExecError::Ended);
    }

    #[test]
    fn the_longest_text_has_at_most_the_documented_length() {
        let number = i32::MAX;
        let numbers = format!(":{number}").repeat(FDS);
        let text = format!("{FORMAT}:eventfd:0:{}{numbers}", i64::MIN);
        assert!(text.len() <= 120, "{}", text.len());
    }

    #[test]
    fn every_other_text_is_refused() {
        let mut end = Barrier::<Page>::open_for_exec().unwrap().into_child();
        let text = end.export().unwrap().to_string();
        assert!(parse(&text, "page", 1).is_some());
        for len in 0..text.len() {
            // SAFETY: the text is refused before anything is taken over.
            assert!(unsafe { ChildEnd::<Page>::import(&text[..len]) }.is_err(), "{len}");
        }
        for (lane, side) in [("eventfd", 1), ("page", 0)] {
            assert_eq!(parse(&text, lane, side), None);
        }
        for text in [
            "ipc-barrier-3:page:1:0:4:5:6:-7",
            "ipc-barrier-3:page:1:0:1:2:0:0",
            "ipc-barrier-3:page:1:0:4:5:6:7:8:9",
            "ipc-barrier-3:page:1:0:4:5:6:99999999999",
            "ipc-barrier-3:page:1:x:4:5:6:7",
            "ipc-barrier-3:page:1",
            "ipc-barrier-3:page:1:0:4:5:6:7:",
            "ipc-barrier-2:page:1:0:4:5:6:7",
        ] {
            // SAFETY: as above.
            let error = unsafe { ChildEnd::<Page>::import(text) }.unwrap_err();
            assert_eq!(error, ExecError::Malformed, "{text}");
        }
    }

    #[test]
    fn a_descriptor_that_is_closed_or_not_the_memory_is_refused() {
        let mut end = Barrier::<Page>::open_for_exec().unwrap().into_parent();
        let text = end.export().unwrap().to_string();
        let number = end.half.own.as_fd().as_raw_fd();
        let file = end.half.file.as_ref().unwrap().as_fd().as_raw_fd();
        let closed = text.replace(&format!(":{number}:"), ":1000000:");
        // SAFETY: the text is refused before anything is taken over.
        let error = unsafe { ParentEnd::<Page>::import(&closed) }.unwrap_err();
        assert_eq!(error, ExecError::NotOpen { number: 1_000_000 });
        let swapped = text.replace(&format!("{number}:{file}"), &format!("{file}:{number}"));
        // SAFETY: as above.
        let error = unsafe { ParentEnd::<Page>::import(&swapped) }.unwrap_err();
        assert!(matches!(error, ExecError::System(_)), "{error}");
        assert!(end.place().is_ok(), "it still works");
    }

    #[test]
    fn only_a_barrier_that_was_opened_for_exec_can_be_exported() {
        let mut end = Barrier::new().unwrap().into_parent();
        assert_eq!(end.export().unwrap_err(), ExecError::NotForExec);
    }
}
