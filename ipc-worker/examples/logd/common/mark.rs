//! The mark of a daemon that runs: a symbolic link `running` in its directory, to the number of
//! main's process and the time of its start. A link needs no room, and is made whole or not at all.
//! It goes at an end with everything written; one that another main has left tells that this end
//! did not come. Nothing but raw calls.

use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::time::Duration;

use ipc_transport::Instant;
use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, fsync, readlinkat_raw, symlinkat, unlinkat};
use rustix::io::Errno;

use super::policy::Retry;
use super::words::Text;

const NAME: &CStr = c"running";

/// `PID.NANOSECONDS`, with zeros behind.
type Target = [u8; LEN];
const LEN: usize = 33;

/// The mark of this main, and what is known of the one in the directory.
#[derive(Debug)]
pub(crate) struct Mark {
    own: Target,
    /// When this main began, since 1970.
    pub(crate) begun: Duration,
    /// The main that has left the mark that is there.
    other: Option<u32>,
    is_set: bool,
    setting: Retry,
}

impl Mark {
    /// Made in main, so that every worker of it knows its mark.
    pub(crate) fn new(main: u32, begun: Duration) -> Self {
        let mut own = [0; LEN];
        let mut text = Text::new(&mut own);
        text.put_number(main.into(), 1);
        text.put(b".");
        text.put_number(begun.as_secs(), 1);
        text.put_number(begun.subsec_nanos().into(), 9);
        Self { own, begun, other: None, is_set: false, setting: Retry::new() }
    }

    /// Looks into a directory in which the log is locked. Returns the process that was main before
    /// and ended uncleanly.
    pub(crate) fn look(&mut self, dir: BorrowedFd<'_>) -> Option<u32> {
        let found = read(dir);
        self.is_set = found == Some(self.own);
        // Another form is not a mark, and stays.
        self.other = found.filter(|_| !self.is_set).and_then(|found| main_of(&found));
        self.other
    }

    /// Returns the process that has left its mark, as long as that is there.
    pub(crate) const fn other(&self) -> Option<u32> {
        self.other
    }

    /// Returns whether the mark is to be made, and was not tried a moment ago.
    pub(crate) fn is_due(&self) -> bool {
        !self.is_set && !self.setting.is_early(Instant::now())
    }

    /// Makes the mark, in place of the one that was left. Returns a failure that is new.
    pub(crate) fn set(&mut self, dir: BorrowedFd<'_>) -> Option<Errno> {
        if self.other.take().is_some() {
            _ = unlinkat(dir, NAME, AtFlags::empty());
        }
        let result = symlinkat(path(&self.own), dir, NAME);
        self.is_set = result.is_ok();
        // Best effort: it is for the loss of power, too.
        _ = fsync(dir);
        self.setting.note(Instant::now(), result)
    }

    /// Removes the mark of this main, and none of another.
    pub(crate) fn clear(&mut self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        (self.other, self.is_set) = (None, false);
        if read(dir) == Some(self.own) {
            unlinkat(dir, NAME, AtFlags::empty())?;
            _ = fsync(dir);
        }
        Ok(())
    }
}

/// Reads the link; one that is too long is none of ours.
fn read(dir: BorrowedFd<'_>) -> Option<Target> {
    let mut buffer = [MaybeUninit::uninit(); LEN];
    let (bytes, _) = readlinkat_raw(dir, NAME, &mut buffer).ok()?;
    let mut target = [0; LEN];
    // The last one stays zero.
    let room = target.get_mut(..bytes.len()).filter(|room| room.len() < LEN)?;
    room.copy_from_slice(bytes);
    Some(target)
}

fn path(target: &Target) -> &CStr {
    CStr::from_bytes_until_nul(target).unwrap_or_default()
}

/// Returns the process that is named, if it is a mark.
fn main_of(target: &Target) -> Option<u32> {
    let (pid, time) = path(target).to_str().ok()?.split_once('.')?;
    pid.parse().ok().filter(|_| time.bytes().all(|byte| byte.is_ascii_digit()))
}
