//! tinylogd: logd without a standard library, a C library or a heap. `common`, shared with logd,
//! does the work; this folder adds the start code and the sizes.

#![no_std]
#![no_main]

mod help;
mod program;
mod requests;
mod start;
#[expect(dead_code, reason = "only logd uses some of it")]
#[path = "../../../ipc-worker/examples/logd"]
mod logd {
    pub(crate) mod common;
}

use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::ptr;

use ipc_barrier::process::reset_signals;
use ipc_worker::{Start, Worker};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::process::{Signal, geteuid};

use logd::common;

use crate::program::MESSAGE;
use crate::requests::Server;
use crate::start::Strings;
use common::daemon::{Daemon, RESTART};
use common::disk;
use common::opening::{self, Ids};
use common::options::{self, Asked, Known, Options};
use common::say::{Failed, fail};
use common::watch::Watch;
use common::words::{Lossy, Named};

const VERSION: &str = concat!("tinylogd ", env!("CARGO_PKG_VERSION"), "\n");
/// Exit status for a wrong command line, the same as for most tools.
const USAGE: i32 = 2;

/// Observes nothing.
struct Nobody;

impl Watch for Nobody {}

/// Runs the program, and returns its exit status.
fn main(arguments: Strings, environment: Strings) -> i32 {
    open_streams();
    match options::parse(arguments.skip(1), |_option| Ok(Known::No)) {
        Ok(Asked::Run(options)) => i32::from(run(&options, environment).is_err()),
        Ok(Asked::Version) => print(VERSION.as_bytes()),
        Ok(Asked::Help | Asked::Other) => print(help::TEXT),
        Err(Failed) => USAGE,
    }
}

/// Opens standard input, output and error if they are closed, so that no other file gets their
/// numbers. They get /dev/null, or a descriptor that can be neither read nor written if it is
/// missing.
fn open_streams() {
    let open = |path: &CStr, flags| open(path, flags, Mode::empty());
    let any = || open(c"/dev/null", OFlags::RDWR).or_else(|_| open(c"/", OFlags::PATH));
    // Each gets the lowest free number and keeps it; the first above 2 is closed.
    while let Some(stream) = any().ok().filter(|fd| fd.as_raw_fd() < 3) {
        core::mem::forget(stream);
    }
}

/// Prints the text, however slow the reader is.
#[expect(unsafe_code, reason = "standard output by its number")]
fn print(mut text: &[u8]) -> i32 {
    _ = reset_signals(&[Signal::PIPE.as_raw()]);
    // SAFETY: `open_streams` opened it, and it is never closed.
    let output = unsafe { BorrowedFd::borrow_raw(1) };
    // An error means that the reader has gone.
    while let Ok(len @ 1..) = rustix::io::write(output, text) {
        text = text.get(len..).unwrap_or_default();
    }
    0
}

#[cfg_attr(
    not(feature = "musl"),
    expect(unsafe_code, reason = "the worker is forked by the raw call")
)]
fn run(options: &Options, mut environment: Strings) -> Result<(), Failed> {
    let socket = environment.find_map(|variable| {
        let value = variable.to_bytes_with_nul().strip_prefix(b"NOTIFY_SOCKET=")?;
        CStr::from_bytes_with_nul(value).ok()
    });
    let (place, sources) = opening::open(options, socket, find)?;
    let lines = memory(disk::LINES)?;
    let memory = [memory(options.intake)?, memory(MESSAGE)?];
    let disk = opening::disk(place, options, lines, false);
    #[cfg(not(feature = "musl"))]
    // SAFETY: this program has no C library and one thread, and starts none.
    let start = unsafe { Start::fork_raw(Server(disk)) };
    #[cfg(feature = "musl")]
    let start = Start::fork(Server(disk));
    // The daemon stops the worker, so nothing needs to be dropped.
    let mut place = MaybeUninit::uninit();
    match Worker::start_in(&mut place, start.restart(RESTART)) {
        Ok(worker) => Daemon::new(worker, sources, Nobody, memory).serve(),
        Err(error) => Err(opening::not_started(options, &error)),
    }
}

/// Reads `--user` and `--group`, which are numbers.
fn find(options: &Options) -> Result<Option<Ids>, Failed> {
    let number = |name, text: Option<&CStr>| {
        let wrong = |text: &CStr| {
            fail(format_args!("{name} {}: a number is needed", Lossy(text.to_bytes())))
        };
        let parse = |text: &CStr| text.to_str().ok()?.parse().ok();
        text.map(|text| parse(text).ok_or_else(|| wrong(text))).transpose()
    };
    let [user, group] = [("--user", options.user), ("--group", options.group)]
        .map(|(name, text)| number(name, text));
    let (user, group) = match (user?, group?) {
        (None, None) => return Ok(None),
        (Some(user), None) => {
            return Err(fail(format_args!("--user {user}: --group is needed too")));
        }
        (user, Some(group)) => (user.unwrap_or_else(|| geteuid().as_raw()), group),
    };
    let groups = [group].into_iter().collect();
    Ok(Some(Ids { user, group, groups }))
}

/// Memory for the rest of the program's life; pages are allocated on first use.
#[expect(unsafe_code, reason = "a mapping as memory")]
fn memory(len: usize) -> Result<&'static mut [u8], Failed> {
    // SAFETY: a new mapping overlaps nothing.
    let mapped = unsafe {
        mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    };
    let place = mapped.map_err(|error| fail(format_args!("memory: {}", Named(error))))?;
    // SAFETY: the mapping has `len` zero bytes, and nothing else refers to them.
    Ok(unsafe { core::slice::from_raw_parts_mut(place.cast(), len) })
}
