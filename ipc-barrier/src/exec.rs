//! A barrier beyond exec: an end is handed to the next program as a line of text.

#![expect(unsafe_code, reason = "a descriptor's number says nothing of its owner")]

use core::fmt;

use heapless::Vec;
use ipc_transport::SystemError;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

use crate::end::End;
use crate::lane::{Half, Lane};
use crate::memory::{Memory, Side};
use crate::role::Role;
use crate::rules::{Cause, Rules};

/// The first word of an exported end: whose text it is, and of which version.
const FORMAT: &str = "ipc-barrier-1";

/// Descriptors of an end: three of the lane, the memory's, and perhaps a pidfd.
const FDS: usize = 5;

/// An end that is ready for exec: its descriptors stay open across one while this lives.
///
/// Its text, by `Display`, is at most 120 bytes of ASCII without spaces, for an argument or an
/// environment variable of the next program, which takes the end over by [`End::import`]. If
/// exec fails, drop this: the descriptors are close-on-exec again, and the end goes on.
///
/// The end is borrowed meanwhile, so that nothing changes that the text does not say:
///
/// ```compile_fail,E0499
/// # use ipc_barrier::{Barrier, Page};
/// let mut end = Barrier::<Page>::open_for_exec()?.into_child();
/// let exported = end.export()?;
/// assert!(end.place());
/// drop(exported);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```
/// # use ipc_barrier::{Barrier, Page};
/// let mut end = Barrier::<Page>::open_for_exec()?.into_child();
/// let exported = end.export()?.to_string(); // ended: the text alone keeps nothing open
/// assert!(end.place());
/// drop(exported);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Exported<'end, R: Role, L: Lane>(&'end End<R, L>);

impl<R: Role, L: Lane> End<R, L> {
    /// Readies this end for exec (close-on-exec off, fcntl(2)). Only one of a barrier that was
    /// [opened for exec](crate::Barrier::open_for_exec) can be. A pidfd that is
    /// [watched](End::watching) goes with it; the descriptor of [`watch`](Self::watch) and the
    /// patience do not.
    ///
    /// A process that another thread forks meanwhile inherits the descriptors over its exec too.
    ///
    /// ```no_run
    /// # #[cfg(feature = "std")] {
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    /// # use ipc_barrier::{Barrier, Page, Stage};
    ///
    /// let mut end = Barrier::<Page>::open_for_exec()?.into_child();
    /// let exported = end.export()?;
    /// let error = Command::new("/usr/sbin/server").env("BARRIER", exported.to_string()).exec();
    /// drop(exported);
    /// end.fail(Stage(4), error, "exec of the server");
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ExecError::NotForExec`]; [`ExecError::System`] where the descriptors are broken. The end
    /// is as it was.
    pub fn export(&mut self) -> Result<Exported<'_, R, L>, ExecError> {
        if self.half.memory.file().is_none() {
            return Err(ExecError::NotForExec);
        }
        // Made first, so that a failure in the middle is taken back.
        let exported = Exported(self);
        exported.set(FdFlags::empty())?;
        Ok(exported)
    }

    /// Takes over an end that the program before exec has exported, with all that it had placed
    /// and drained. Its descriptors are close-on-exec again. The text may be anything: what is not
    /// an end of this role and lane is refused.
    ///
    /// The descriptor of [`watch`](Self::watch) shows what comes from now on. What came before is
    /// found by a `try_` call.
    ///
    /// # Errors
    /// See [`ExecError`]. The descriptors stay as they were.
    ///
    /// # Safety
    /// Nothing else in this process owns the descriptors that the text names, now or later. That
    /// is so for a text that [`export`](Self::export) made before exec, imported once.
    pub unsafe fn import(text: &str) -> Result<Self, ExecError> {
        let (numbers, rules) = parse::<R, L>(text)?;
        for &number in &numbers {
            // SAFETY: the number is only asked about; that nobody closes it the caller promises.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            fcntl_getfd(fd).map_err(|_| ExecError::NotOpen { number })?;
        }
        let [outgoing, incoming, own, file, pidfd @ ..] = numbers.as_slice() else {
            return Err(ExecError::Malformed);
        };
        // SAFETY: it is open, and stays so by the caller's promise.
        let page = Memory::map(unsafe { BorrowedFd::borrow_raw(*file) })?;
        let take = |number: &RawFd| {
            // SAFETY: it is open, and the caller promises that nothing else owns it.
            unsafe { OwnedFd::from_raw_fd(*number) }
        };
        let half = Half {
            side: R::SIDE,
            outgoing: take(outgoing),
            incoming: take(incoming),
            own: take(own),
            memory: Memory::new(page, Some(take(file))),
        };
        let end = Self::new(rules, half, pidfd.first().map(take));
        for fd in end.shared().chain(end.pidfd()) {
            fcntl_setfd(fd, FdFlags::CLOEXEC).map_err(SystemError::of("fcntl"))?;
        }
        // As it was when the barrier was new: the first post is shown to a side that watches. What
        // has come already takes a look, which a failure here will be told by, too.
        _ = L::arm(&end.half);
        Ok(end)
    }
}

impl<R: Role, L: Lane> Exported<'_, R, L> {
    fn set(&self, flags: FdFlags) -> Result<(), SystemError> {
        for fd in self.0.shared().chain(self.0.pidfd()) {
            fcntl_setfd(fd, flags).map_err(SystemError::of("fcntl"))?;
        }
        Ok(())
    }
}

impl<R: Role, L: Lane> Drop for Exported<'_, R, L> {
    fn drop(&mut self) {
        // It worked the other way round; what is broken cannot be helped here.
        _ = self.set(FdFlags::CLOEXEC);
    }
}

impl<R: Role, L: Lane> fmt::Display for Exported<'_, R, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(end) = self;
        write!(f, "{FORMAT}:{}:{}:", L::NAME, R::SIDE.name())?;
        for (index, fd) in end.shared().chain(end.pidfd()).enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", fd.as_raw_fd())?;
        }
        let mine = if end.rules.has_aborted() { "aborted" } else { "open" };
        let peers = match end.rules.peer() {
            None => "open",
            Some(Cause::Aborted) => "aborted",
            Some(Cause::Gone) => "gone",
        };
        write!(f, ":{}:{mine}:{peers}", end.rules.ahead())
    }
}

/// Reads a text that may be anything.
fn parse<R: Role, L: Lane>(text: &str) -> Result<(Vec<RawFd, FDS>, Rules), ExecError> {
    let mut parts = text.split(':');
    let mut part = || parts.next().ok_or(ExecError::Malformed);
    if part()? != FORMAT {
        return Err(ExecError::Malformed);
    }
    if part()? != L::NAME {
        return Err(ExecError::OtherLane { expected: L::NAME });
    }
    if part()? != R::SIDE.name() {
        return Err(ExecError::OtherSide { expected: R::SIDE.name() });
    }
    let mut numbers = Vec::new();
    for number in part()?.split(',') {
        let number = number.parse::<RawFd>().map_err(|_| ExecError::Malformed)?;
        if number < 0 || numbers.contains(&number) || numbers.push(number).is_err() {
            return Err(ExecError::Malformed);
        }
    }
    let ahead = part()?.parse().map_err(|_| ExecError::Malformed)?;
    let aborted = match part()? {
        "open" => false,
        "aborted" => true,
        _ => return Err(ExecError::Malformed),
    };
    let peer = match part()? {
        "open" => None,
        "aborted" => Some(Cause::Aborted),
        "gone" => Some(Cause::Gone),
        _ => return Err(ExecError::Malformed),
    };
    match parts.next() {
        None => Ok((numbers, Rules::resume(ahead, aborted, peer))),
        Some(_) => Err(ExecError::Malformed),
    }
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Parent => "parent",
            Self::Child => "child",
        }
    }
}

/// Why an end was not exported or imported. No descriptor was closed or taken, but for a failure
/// of fcntl(2) in the last step of an import, after which they are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecError {
    /// The barrier was not opened for exec, so that its memory would go with the program.
    NotForExec,
    /// The text is none that an export made, or was cut.
    Malformed,
    /// The text is of an end on another lane.
    OtherLane {
        /// The lane that was asked for.
        expected: &'static str,
    },
    /// The text is of the other side's end.
    OtherSide {
        /// The side that was asked for.
        expected: &'static str,
    },
    /// A descriptor that the text names is not open: it was closed before exec or at it.
    NotOpen {
        /// Its number.
        number: RawFd,
    },
    /// A failure of the system, also for a descriptor that is not what the text says.
    System(SystemError),
}

impl From<SystemError> for ExecError {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotForExec => f.write_str("the barrier was not opened for exec"),
            Self::Malformed => f.write_str("no text of an exported end"),
            Self::OtherLane { expected } => write!(f, "an end on a lane other than {expected}"),
            Self::OtherSide { expected } => write!(f, "an end of a side other than {expected}"),
            Self::NotOpen { number } => write!(f, "descriptor {number} is not open"),
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
    use crate::end::{ChildEnd, ParentEnd};
    use crate::role::{ChildSide, ParentSide};
    use crate::{Barrier, Eventfd, Page};

    #[test]
    fn a_text_gives_back_what_the_end_knew() {
        let mut end = Barrier::<Page>::open_for_exec().unwrap().into_parent();
        end.place();
        end.place();
        let exported = end.export().unwrap();
        let text = exported.to_string();
        assert!(text.len() <= 120 && text.is_ascii() && !text.contains(' '), "{text}");
        let (numbers, rules) = parse::<ParentSide, Page>(&text).unwrap();
        assert_eq!((numbers.len(), rules.ahead(), rules.is_open()), (4, 2, true));
        drop(exported);
        end.abort();
        let text = end.export().unwrap().to_string();
        assert!(parse::<ParentSide, Page>(&text).unwrap().1.has_aborted());
    }

    #[test]
    fn the_longest_text_has_the_length_that_is_promised() {
        let number = i32::MAX;
        let numbers = format!("{number},{number},{number},{number},{number}");
        let text = format!("{FORMAT}:eventfd:parent:{numbers}:{}:aborted:aborted", i64::MIN);
        assert!(text.len() <= 120, "{}", text.len());
    }

    #[test]
    fn every_text_that_is_not_one_is_refused() {
        let mut end = Barrier::<Page>::open_for_exec().unwrap().into_child();
        let text = end.export().unwrap().to_string();
        assert!(parse::<ChildSide, Page>(&text).is_ok());
        for len in 0..text.len() {
            // SAFETY: it is refused before anything is taken.
            assert!(unsafe { ChildEnd::<Page>::import(&text[..len]) }.is_err(), "{len}");
        }
        let other = |error: Result<_, ExecError>| error.map(|_: (Vec<RawFd, FDS>, Rules)| ());
        let lane = ExecError::OtherLane { expected: "eventfd" };
        assert_eq!(other(parse::<ChildSide, Eventfd>(&text)), Err(lane));
        let side = ExecError::OtherSide { expected: "parent" };
        assert_eq!(other(parse::<ParentSide, Page>(&text)), Err(side));
        for text in [
            "ipc-barrier-1:page:child:4,5,6,-7:0:open:open",
            "ipc-barrier-1:page:child:4,5,6,6:0:open:open",
            "ipc-barrier-1:page:child:4,5,6,7,8,9:0:open:open",
            "ipc-barrier-1:page:child:4,5,6,99999999999:0:open:open",
            "ipc-barrier-1:page:child:4,5,6,7:0:gone:open",
            "ipc-barrier-1:page:child:4,5,6,7:0:open:open:",
            "ipc-barrier-2:page:child:4,5,6,7:0:open:open",
        ] {
            assert_eq!(other(parse::<ChildSide, Page>(text)), Err(ExecError::Malformed), "{text}");
        }
    }

    #[test]
    fn what_is_not_open_or_no_memory_is_refused_and_stays() {
        let mut end = Barrier::<Page>::open_for_exec().unwrap().into_parent();
        let text = end.export().unwrap().to_string();
        let number = end.half.own.as_raw_fd();
        let file = end.half.memory.file().unwrap().as_raw_fd();
        let closed = text.replace(&format!("{number},"), "1000000,");
        // SAFETY: it is refused before anything is taken.
        let error = unsafe { ParentEnd::<Page>::import(&closed) }.unwrap_err();
        assert_eq!(error, ExecError::NotOpen { number: 1_000_000 });
        let swapped = text.replace(&format!("{number},{file}"), &format!("{file},{number}"));
        // SAFETY: as above.
        let error = unsafe { ParentEnd::<Page>::import(&swapped) }.unwrap_err();
        assert!(matches!(error, ExecError::System(_)), "{error}");
        assert!(end.place(), "it still works");
    }

    #[test]
    fn only_a_barrier_that_was_opened_for_exec_can_be_exported() {
        let mut end = Barrier::new().unwrap().into_parent();
        assert_eq!(end.export().unwrap_err(), ExecError::NotForExec);
    }
}
