//! What really happened, in a page that all processes of a run share: writing it takes no system
//! call, and no kill tears it.

#![expect(unsafe_code, reason = "a page that is shared with processes that may be killed")]

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// Requests of the scenario.
pub(crate) const REQUESTS: usize = 6;

/// Bytes that are mapped.
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

    /// Adds one, and returns what there was.
    pub(crate) fn up(&self) -> u32 {
        self.0.fetch_add(1, SeqCst)
    }
}

/// How a request ended, as main was told.
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

/// What became of one request.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Fate {
    /// By the handler, in whatever worker.
    pub(crate) begun: Count,
    pub(crate) ended: Count,
    /// By main.
    pub(crate) taken: Count,
    pub(crate) told: Count,
    how: Count,
}

impl Fate {
    pub(crate) fn tell(&self, how: Told) {
        self.told.up();
        self.how.set(how as u32);
    }

    /// What main was told at last.
    pub(crate) fn how(&self) -> Told {
        TOLD.into_iter().find(|&told| told as u32 == self.how.get()).unwrap_or(Told::Wrong)
    }
}

/// What became of a run.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Record {
    /// Main has a worker; it has none, for a typed reason; it has come to the scenario's end.
    pub(crate) started: Count,
    pub(crate) not_started: Count,
    pub(crate) finished: Count,
    /// Events.
    pub(crate) notes: Count,
    pub(crate) deaths: Count,
    pub(crate) restarts: Count,
    pub(crate) gave_up: Count,
    /// Processes whose status main could not learn.
    pub(crate) unknown: Count,
    /// By the counters of main: one-ways that came to nothing.
    pub(crate) one_ways_lost: Count,
    /// The longest that a call has gone on after its deadline, in milliseconds.
    pub(crate) late_ms: Count,
    pub(crate) fates: [Fate; REQUESTS],
}

/// What a walk has come to.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Tally {
    pub(crate) points: Count,
    pub(crate) failures: Count,
    /// What cannot be survived and was not, by its place in the table.
    pub(crate) lost: [Count; 16],
}

/// What is in a page: nothing but counts.
pub(crate) trait Page: Sync {}

impl Page for Record {}
impl Page for Tally {}

/// Maps the page in a file, which is made where it is missing.
pub(crate) fn map<T: Page>(path: &Path) -> io::Result<&'static T> {
    const { assert!(size_of::<T>() <= SIZE) };
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    file.set_len(SIZE.try_into().unwrap())?;
    let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
    // SAFETY: the kernel chooses the address, so that no memory in use is replaced.
    let page = unsafe { libc::mmap(null_mut(), SIZE, access, libc::MAP_SHARED, fd, 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is as long, aligned to a page, any bytes are counts, and it is never unmapped.
    Ok(unsafe { &*page.cast::<T>() })
}

/// Makes all of a page zero.
pub(crate) fn clear(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[0; SIZE], 0).unwrap();
}
