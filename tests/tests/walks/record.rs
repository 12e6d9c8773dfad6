//! What really happened, in a page shared by all processes of a run: writing to it needs no system
//! call, and no kill can tear it.

#![expect(unsafe_code, reason = "the page is shared with processes that may be killed")]

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// Number of requests in the scenario.
pub(crate) const REQUESTS: usize = 6;

/// Size of the mapping.
const SIZE: usize = 4096;

/// A number that any process of a run may write.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Count(AtomicU32);

impl Count {
    pub(crate) fn get(&self) -> u32 {
        self.0.load(SeqCst)
    }

    pub(crate) fn set(&self, value: u32) {
        self.0.store(value, SeqCst);
    }

    /// Adds one, and returns the previous value.
    pub(crate) fn up(&self) -> u32 {
        self.0.fetch_add(1, SeqCst)
    }
}

/// A request's outcome, as told to main.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Told {
    Nothing,
    Reply,
    Refused,
    Unsendable,
    NotBegun,
    Running,
    Done,
    SetAside,
    Late,
    Wrong,
}

const TOLD: [Told; 10] = [
    Told::Nothing,
    Told::Reply,
    Told::Refused,
    Told::Unsendable,
    Told::NotBegun,
    Told::Running,
    Told::Done,
    Told::SetAside,
    Told::Late,
    Told::Wrong,
];

/// The record of one request.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Fate {
    /// Counted by the handler, in any worker.
    pub(crate) begun: Count,
    pub(crate) ended: Count,
    /// Counted by main.
    pub(crate) taken: Count,
    pub(crate) told: Count,
    how: Count,
}

impl Fate {
    pub(crate) fn tell(&self, how: Told) {
        self.told.up();
        self.how.set(how as u32);
    }

    /// The last outcome that main was told.
    pub(crate) fn how(&self) -> Told {
        TOLD.into_iter().find(|&told| told as u32 == self.how.get()).unwrap_or(Told::Wrong)
    }
}

/// The record of a run.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Record {
    /// Main got a worker; or got none, for a typed reason; or reached the scenario's end.
    pub(crate) started: Count,
    pub(crate) not_started: Count,
    pub(crate) finished: Count,
    /// Events.
    pub(crate) notes: Count,
    pub(crate) deaths: Count,
    pub(crate) restarts: Count,
    pub(crate) gave_up: Count,
    /// Processes whose status main did not learn.
    pub(crate) unknown: Count,
    /// Counted by main: one-ways that were lost.
    pub(crate) one_ways_lost: Count,
    /// The longest that a call continued after its deadline, in milliseconds.
    pub(crate) late_ms: Count,
    pub(crate) fates: [Fate; REQUESTS],
}

/// The result of a walk.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Tally {
    pub(crate) points: Count,
    pub(crate) failures: Count,
    /// Known losses that were not survived, by position in the table.
    pub(crate) lost: [Count; 16],
}

/// A type that may be mapped: it contains only counts.
pub(crate) trait Page: Sync {}

impl Page for Record {}
impl Page for Tally {}

/// Maps the page from a file, which is created if missing.
pub(crate) fn map<T: Page>(path: &Path) -> io::Result<&'static T> {
    const { assert!(size_of::<T>() <= SIZE) };
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    file.set_len(SIZE.try_into().unwrap())?;
    let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
    // SAFETY: the kernel chooses the address, so no memory in use is replaced.
    let page = unsafe { libc::mmap(null_mut(), SIZE, access, libc::MAP_SHARED, fd, 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the page is long enough, aligned, valid with any bytes, and never unmapped.
    Ok(unsafe { &*page.cast::<T>() })
}

/// Sets a page to zero.
pub(crate) fn clear(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[0; SIZE], 0).unwrap();
}
