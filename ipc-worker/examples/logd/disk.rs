//! The work that may block: append, rotate, sync. It runs in the worker, or in line.

use std::io;
use std::time::Duration;

use ipc_transport::Instant;
use ipc_worker::{Reason, Refusal};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, renameat, unlinkat};
use rustix::io::Errno;
use serde_bytes::Bytes;

use crate::line::Datagram;
use crate::log::{Log, is_no_file};
use crate::options::{Options, Stall};
use crate::say::report;

ipc_worker::service! {
    /// What the worker does for main.
    pub(crate) mod work {
        /// Appends a message; its time of receipt is counted from 1970. The sender, if it is to be
        /// written, is pid, uid and gid. One that may have been written is not written again. One sync for many lines is worth waiting for, also after
        /// a line that took its time: so it counts as quick.
        1 => fn append(
            received: Duration,
            sender: Option<[u32; 3]>,
            bytes: &Bytes,
            missing: u64,
        ), again IfNotBegun, quick;
        /// Opens `log` anew, if that is another file by now. One-way.
        2 => fn reopen(), quick;
    }
}

/// How long to wait before a full disk is tried again.
const FULL: Duration = Duration::from_secs(1);

/// A directory of logs, and the file that is appended to.
pub(crate) struct Disk {
    dir: OwnedFd,
    rotate_bytes: u64,
    keep: u32,
    stall: Option<Stall>,
    log: Option<Log>,
    line: Vec<u8>,
    /// The disk is full, which has been said.
    full: bool,
    /// The log cannot be rotated, which has been said.
    stuck: bool,
    /// Why what was written since the last reply may not last.
    unsynced: Option<io::Error>,
}

impl Disk {
    pub(crate) fn new(dir: OwnedFd, options: &Options) -> Self {
        let &Options { rotate_bytes, keep, stall, .. } = options;
        let (log, line, unsynced) = (None, Vec::new(), None);
        Self { dir, rotate_bytes, keep, stall, log, line, full: false, stuck: false, unsynced }
    }

    /// Appends the line, or leaves the file as it was.
    fn try_append(&mut self) -> io::Result<()> {
        let len = u64::try_from(self.line.len()).unwrap_or(u64::MAX);
        if self.log.as_ref().is_some_and(|log| log.len > 0 && log.len + len > self.rotate_bytes) {
            self.rotate_or_go_on();
        }
        if let Some(stall) = self.stall {
            stall.wait();
        }
        let log = self.log.take().map_or_else(|| self.open(), Ok)?;
        self.log.insert(log).append(&self.line)
    }

    /// Opens or makes `log`.
    fn open(&mut self) -> io::Result<Log> {
        let log = Log::open(self.dir.as_fd())?;
        // A new name is to last as long as what stands under it.
        self.note_sync(rustix::fs::fsync(&self.dir).map_err(io::Error::from));
        Ok(log)
    }

    /// Begins a new file, or goes on with the present one: a message is worth more than a limit.
    fn rotate_or_go_on(&mut self) {
        let Err(error) = self.rotate() else {
            self.stuck = false;
            return;
        };
        if !std::mem::replace(&mut self.stuck, true) {
            report(format_args!("the log cannot be rotated and grows on: {error}"));
        }
    }

    /// Renames `log` to `log.1`, `log.1` to `log.2` and so on, from the oldest down, so that a
    /// kill between two of them loses nothing.
    fn rotate(&mut self) -> io::Result<()> {
        self.sync();
        if self.keep == 0 {
            return self.part(unlinkat(&self.dir, "log", AtFlags::empty()));
        }
        let oldest = (1..self.keep).take_while(|&number| self.exists(number)).last().unwrap_or(0);
        for number in (1..=oldest).rev() {
            renameat(&self.dir, name(number), &self.dir, name(number + 1))?;
        }
        self.part(renameat(&self.dir, name(0), &self.dir, name(1)))
    }

    /// Leaves the open file, once its name is gone, whoever took it.
    fn part(&mut self, taken: Result<(), Errno>) -> io::Result<()> {
        match taken {
            Ok(()) | Err(Errno::NOENT) => self.log = None,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn exists(&self, number: u32) -> bool {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::statat(&self.dir, name(number), flags).is_ok()
    }

    /// Syncs what was written. A failure is kept for [`settle`](work::Serve::settle).
    fn sync(&mut self) {
        let result = self.log.as_mut().map_or(Ok(()), Log::sync);
        self.note_sync(result);
    }

    fn note_sync(&mut self, result: io::Result<()>) {
        match result {
            Err(error) if !is_no_file(&error) => self.unsynced = Some(error),
            _ => {}
        }
    }
}

impl work::Serve for Disk {
    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [self.dir.as_fd()].into_iter()
    }

    fn prepare(&mut self) -> Result<(), Reason> {
        self.log = Some(self.open().map_err(|error| {
            let text = match error.kind() {
                io::ErrorKind::WouldBlock => "another process writes to the log in --dir",
                _ => "cannot open the log in --dir",
            };
            Reason::from_error("open log", &error, text)
        })?);
        Ok(())
    }

    /// Appends a message whole, however long a full disk takes.
    fn append(
        &mut self,
        received: Duration,
        sender: Option<[u32; 3]>,
        bytes: &Bytes,
        missing: u64,
    ) -> Result<(), Refusal> {
        self.line.clear();
        Datagram { received, sender, bytes, missing }.put_line(&mut self.line);
        while let Err(error) = self.try_append() {
            if !is_full(&error) {
                return Err(error.into());
            }
            if !self.full {
                report(format_args!("the disk is full: {error}; trying again every second"));
                self.full = true;
            }
            std::thread::sleep(FULL);
        }
        if self.full {
            report(format_args!("there is room on the disk again"));
            self.full = false;
        }
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), Refusal> {
        self.sync();
        let is_same = self.log.as_ref().is_some_and(|log| log.is_named(self.dir.as_fd()));
        if !is_same {
            let log = self.open().map_err(Refusal::from).inspect_err(|refusal| {
                // Nobody awaits an answer.
                report(format_args!("the log could not be reopened: {refusal}"));
            })?;
            self.log = Some(log);
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Refusal> {
        self.sync();
        self.unsynced.take().map_or(Ok(()), |error| {
            report(format_args!("what was written could not be synced: {error}"));
            Err(error.into())
        })
    }
}

fn name(number: u32) -> String {
    match number {
        0 => "log".to_owned(),
        number => format!("log.{number}"),
    }
}

fn is_full(error: &io::Error) -> bool {
    let full = [Errno::NOSPC, Errno::DQUOT].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|number| full.contains(&number))
}

impl Stall {
    /// Waits while the clock is in the stalled stretch of its period.
    fn wait(self) {
        let since_start = u128::from(Instant::now().as_nanoseconds());
        let into_period = since_start % self.period.as_nanos();
        let rest = self.length.as_nanos().saturating_sub(into_period);
        std::thread::sleep(Duration::from_nanos(u64::try_from(rest).unwrap_or(0)));
    }
}
