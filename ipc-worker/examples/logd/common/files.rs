//! The log and the older files in their directory. Others may change all of them at any time.

use core::time::Duration;
use core::{fmt, mem};

use heapless::Vec;
use ipc_transport::Instant;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, fsync};
use rustix::io::Errno;

use super::attributes::Attributes;
use super::log::{Log, Symlinks, length};
use super::mark::Mark;
use super::older;
use super::place::{Lock, Place};
use super::policy::{Retry, is_full, is_unknown};
use super::words::{Named, Say};

/// Limits and modes of the files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) rotate_bytes: u64,
    pub(crate) keep: u32,
    pub(crate) symlinks: Symlinks,
}

/// A daemon that has left its mark, for a line of text.
pub(crate) struct Unclean {
    main: u32,
    /// When this daemon found it.
    pub(crate) found: Duration,
}

impl fmt::Display for Unclean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the last logd (process {}) ended uncleanly: messages may be lost", self.main)
    }
}

/// A directory of logs, and the file to append to.
#[derive(Debug)]
pub(crate) struct Files {
    place: Place,
    mark: Mark,
    limits: Limits,
    say: Say,
    log: Option<Log>,
    /// The attributes of the previous file.
    attributes: Option<Attributes>,
    rotation: Retry,
    reopening: Retry,
    /// Messages that are reported only once.
    said: Vec<&'static str, 4>,
    /// Whether the log's name is synced. It must last as long as its contents, even if another
    /// worker created the file.
    is_name_synced: bool,
    /// Why what was written since the last reply may not be durable.
    unsynced: Option<Errno>,
}

impl Files {
    /// Opens nothing yet.
    pub(crate) fn new(place: Place, mark: Mark, limits: Limits, say: Say) -> Self {
        Self {
            place,
            mark,
            limits,
            say,
            log: None,
            attributes: None,
            rotation: Retry::new(),
            reopening: Retry::new(),
            said: Vec::new(),
            is_name_synced: true,
            unsynced: None,
        }
    }

    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.place.descriptors()
    }

    /// Opens the log in the directory that the path names now.
    pub(crate) fn start(&mut self) -> Result<(), Errno> {
        if let Ok(Some(dir)) = self.place.other() {
            let lock = self.place.lock_other(dir.as_fd())?;
            self.go_to(dir, lock);
        }
        self.log = Some(self.open()?);
        Ok(())
    }

    /// Appends a line, or leaves the file as it was. Rotates a full file first.
    pub(crate) fn append(&mut self, line: &[u8]) -> Result<(), Errno> {
        if self.reopening.is_pending() && !self.reopening.is_early(Instant::now()) {
            // Use the old one until then.
            _ = self.reopen();
        }
        let len = self.ready()?.len;
        if len > 0 && len.saturating_add(length(line)) > self.limits.rotate_bytes {
            self.rotate_or_go_on(len);
        }
        let mut log = self.log.take().map_or_else(|| self.open(), Ok)?;
        let result = log.append(line);
        self.log = Some(log);
        result
    }

    /// Checks the log. Reopens it if it was left, or has lost its name.
    fn ready(&mut self) -> Result<&Log, Errno> {
        if let Some(log) = &mut self.log {
            if !log.look()? {
                self.leave();
            }
        }
        let log = self.log.take().map_or_else(|| self.open(), Ok)?;
        if let Some(error) = log.uncut {
            self.say_once("cannot truncate the log, so half a line stays", error);
        }
        Ok(self.log.insert(log))
    }

    /// Opens or creates `log`. If the old directory does not work, tries the one that the path
    /// names now.
    fn open(&mut self) -> Result<Log, Errno> {
        let opened = self.open_in(None).or_else(|error| {
            match self.place.other() {
                Ok(Some(dir)) if !is_full(error) => {
                    let lock = self.place.lock_other(dir.as_fd())?;
                    self.go_to(dir, lock);
                }
                _ => return Err(error),
            }
            self.open_in(None)
        });
        opened.inspect(|log| self.adopt(log))
    }

    /// Opens or creates `log` in another directory, or in the current one.
    fn open_in(&mut self, other: Option<BorrowedFd<'_>>) -> Result<Log, Errno> {
        if other.is_none() {
            self.place.lock()?;
        }
        let dir = other.unwrap_or(self.place.as_fd());
        if self.attributes.is_none() {
            // An earlier worker has left this file.
            let newest = older::newest(dir);
            self.attributes = newest.and_then(|file| Attributes::of(file.as_fd()).ok());
        }
        // Nobody else may open it before it has those attributes.
        let group = if self.attributes.is_some() { Mode::empty() } else { Mode::RGRP };
        Log::open(dir, self.limits.symlinks, Mode::RUSR | Mode::WUSR | group)
    }

    /// Gives a new file the attributes of its predecessor, and syncs its name.
    fn adopt(&mut self, log: &Log) {
        if let Some(error) = self.place.vain {
            self.say_once("the log is not locked: a second logd would not be noticed", error);
        }
        let before = self.attributes.as_ref().filter(|_| log.is_new);
        if let Some(Err(error)) = before.map(|attributes| attributes.give(log.as_fd())) {
            self.say_once("the log's mode, owner or ACL could not be kept", error);
        }
        self.is_name_synced = false;
        // Only now that the directory is locked. Before, the mark might be that of a running
        // daemon.
        if self.mark.is_due() && self.mark.other().is_none() {
            if let Some(main) = self.mark.look(self.place.as_fd()) {
                let unclean = Unclean { main, found: self.mark.begun };
                (self.say)(format_args!("{unclean}"));
            }
        }
    }

    /// Moves to another directory, with the mark.
    fn go_to(&mut self, dir: OwnedFd, lock: Lock) {
        // The old directory may have been removed, with its mark.
        _ = self.mark.clear(self.place.as_fd());
        self.place.move_to(dir, lock);
    }

    /// Returns what the log must say about the previous daemon.
    pub(crate) fn unclean(&self) -> Option<Unclean> {
        self.mark.other().map(|main| Unclean { main, found: self.mark.begun })
    }

    /// Marks the directory as that of a running daemon, if it is not marked and the log is open.
    pub(crate) fn mark(&mut self) {
        if self.log.is_some() && self.mark.is_due() {
            if let Some(error) = self.mark.set(self.place.as_fd()) {
                (self.say)(format_args!(
                    "cannot make the mark of a running daemon: {}; an unclean end may not be \
                     noticed",
                    Named(error)
                ));
            }
        }
    }

    /// Removes the mark, because everything is written.
    pub(crate) fn unmark(&mut self) -> Result<(), Errno> {
        self.mark.clear(self.place.as_fd()).inspect_err(|&error| {
            (self.say)(format_args!("the mark of a running daemon stays: {}", Named(error)));
        })
    }

    /// Closes the file, and remembers its attributes for the next one.
    pub(crate) fn leave(&mut self) {
        self.sync();
        if let Some(log) = self.log.take() {
            self.attributes = Attributes::of(log.as_fd()).ok().or(self.attributes.take());
        }
    }

    /// Begins a new file, or continues with the current one: a message is worth more than a limit.
    fn rotate_or_go_on(&mut self, len: u64) {
        let now = Instant::now();
        if self.rotation.is_early(now) {
            return;
        }
        let result = self.rotate(len);
        if let Some(error) = self.rotation.note(now, result) {
            (self.say)(format_args!("cannot rotate the log, so it grows: {}", Named(error)));
        }
    }

    /// Begins a new file, if the current file may not grow and the line fits in a new file.
    pub(crate) fn rotate_early(&mut self, error: Errno, line: &[u8]) {
        let (len, limit) = self.log.as_ref().map_or((0, 0), |log| (log.len, log.reached));
        if len > 0 && length(line) <= limit && self.rotate(len).is_ok() {
            self.say_once("rotated early because of a file size limit (ulimit -f)", error);
        }
    }

    fn rotate(&mut self, len: u64) -> Result<(), Errno> {
        if !self.log.as_ref().is_some_and(|log| log.is_named(self.place.as_fd())) {
            // Someone else has rotated it, or its inode number is never the same twice.
            self.leave();
            let log = self.open()?;
            if self.log.insert(log).len < len {
                return Ok(());
            }
        }
        self.sync();
        older::shift(self.place.as_fd(), self.limits.keep)?;
        self.leave();
        Ok(())
    }

    /// Removes the oldest file. Returns whether there was one that could be removed.
    pub(crate) fn remove_oldest(&self) -> bool {
        older::remove_oldest(self.place.as_fd()) == Ok(true)
    }

    /// Reopens the directory and `log`, if they were replaced. If that fails, the old ones stay in
    /// use, and it is retried later.
    pub(crate) fn reopen(&mut self) -> Result<(), Errno> {
        let dir = self.place.other().unwrap_or_else(|error| {
            (self.say)(format_args!("cannot reopen --dir: {}; the old one stays", Named(error)));
            None
        });
        let result = self.move_to(dir);
        if let Some(error) = self.reopening.note(Instant::now(), result) {
            (self.say)(format_args!("the log could not be reopened: {}", Named(error)));
        }
        result
    }

    /// Looks for another directory or another `log`, which someone may have provided to replace a
    /// full or broken one.
    pub(crate) fn look_around(&mut self) {
        let dir = self.place.other().unwrap_or(None);
        // The next line will show any error.
        _ = self.move_to(dir);
    }

    fn move_to(&mut self, dir: Option<OwnedFd>) -> Result<(), Errno> {
        self.sync();
        if dir.is_none() {
            self.place.lock()?;
        }
        let place = dir.as_ref().map_or(self.place.as_fd(), AsFd::as_fd);
        if self.log.as_ref().is_some_and(|log| log.is_named(place)) {
            return Ok(());
        }
        let lock_other = |dir: &OwnedFd| self.place.lock_other(dir.as_fd());
        let lock = dir.as_ref().map(lock_other).transpose()?;
        let opened = self.open_in(dir.as_ref().map(AsFd::as_fd));
        if opened.is_err() {
            drop(lock);
            _ = self.place.lock();
            return opened.map(drop);
        }
        let log = opened?;
        self.leave();
        if let Some((dir, lock)) = dir.zip(lock) {
            self.go_to(dir, lock);
        }
        self.adopt(&log);
        self.log = Some(log);
        Ok(())
    }

    /// Syncs what was written. Returns why something since the last call may not be durable.
    pub(crate) fn settle(&mut self) -> Result<(), Errno> {
        self.sync();
        self.unsynced.take().map_or(Ok(()), Err)
    }

    fn sync(&mut self) {
        let result = self.log.as_mut().map_or(Ok(()), Log::sync);
        self.note_sync(result);
        if !mem::replace(&mut self.is_name_synced, true) {
            self.note_sync(fsync(&self.place));
        }
    }

    fn note_sync(&mut self, result: Result<(), Errno>) {
        self.unsynced = result.err().filter(|&error| !is_unknown(error)).or(self.unsynced);
    }

    fn say_once(&mut self, text: &'static str, error: Errno) {
        if !self.said.contains(&text) && self.said.push(text).is_ok() {
            (self.say)(format_args!("{text}: {}", Named(error)));
        }
    }
}
