//! Signals as a descriptor that the loop can wait for (signalfd(2), Linux 2.6.27).

#![expect(unsafe_code, reason = "system calls that rustix has not, which take pointers")]

use ipc_barrier::process::reset_signals;
use rustix::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Signal;
use syscalls::{Sysno, syscall};

use super::say::{Failed, fail};
use super::words::Named;

/// The kernel's set of signals: words, the lowest numbers in the first.
type Set = [usize; 64 / usize::BITS as usize];
const SET_LEN: usize = size_of::<Set>();

/// `SIG_BLOCK` (rt_sigprocmask(2)).
const BLOCK: usize = 0;

/// `SFD_NONBLOCK | SFD_CLOEXEC`, which are the flags of open(2).
const FLAGS: u32 = rustix::fs::OFlags::NONBLOCK.union(rustix::fs::OFlags::CLOEXEC).bits();

/// In place of a descriptor (-1): one is to be made.
const NEW: usize = usize::MAX;

/// Bytes of what is read for a signal; the number comes first.
const RECORD: usize = 128;

/// What the daemon was told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// SIGHUP: open the log anew.
    pub(crate) reopen: bool,
    /// SIGTERM and SIGINT: write what there is, and stop.
    pub(crate) stop: bool,
    /// SIGQUIT: stop now.
    pub(crate) quit: bool,
}

/// SIGTERM, SIGINT, SIGQUIT and SIGHUP, which do nothing else.
pub(crate) struct Signals(OwnedFd);

impl Signals {
    /// Takes them over, whatever this process was started with: nothing else stays blocked, and what
    /// fails with an error too is ignored (SIGPIPE, SIGXFSZ).
    pub(crate) fn register() -> Result<Self, Failed> {
        let ignored = [Signal::PIPE, Signal::XFSZ].map(Signal::as_raw);
        reset_signals(&ignored).map_err(|error| fail(format_args!("signals: {error}")))?;
        signalfd().map(Self).map_err(|error| fail(format_args!("signals: {}", Named(error))))
    }

    /// Takes what has come since the last time.
    pub(crate) fn take(&self) -> Told {
        let mut told = Told::default();
        let mut record = [0; RECORD];
        // Nothing there is an error too, and none of ours.
        while rustix::io::read(&self.0, &mut record).is_ok_and(|len| len == RECORD) {
            let number = record.first_chunk().map_or(0, |number| i32::from_ne_bytes(*number));
            match Signal::from_named_raw(number) {
                Some(Signal::HUP) => told.reopen = true,
                Some(Signal::QUIT) => told.quit = true,
                _ => told.stop = true,
            }
        }
        told
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Blocks the signals and opens a descriptor for them.
fn signalfd() -> Result<OwnedFd, Errno> {
    let taken = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];
    let mut set = Set::default();
    let [first, ..] = &mut set;
    *first = taken.iter().fold(0, |set, signal| set | 1 << (signal.as_raw() - 1));
    // SAFETY: the kernel reads the set, and is asked for no old one.
    unsafe { syscall!(Sysno::rt_sigprocmask, BLOCK, &raw const set, 0, SET_LEN) }.map_err(errno)?;
    // SAFETY: the kernel reads the set.
    let fd = unsafe { syscall!(Sysno::signalfd4, NEW, &raw const set, SET_LEN, FLAGS) }
        .map_err(errno)?;
    let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just made it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn errno(error: syscalls::Errno) -> Errno {
    Errno::from_raw_os_error(error.into_raw())
}
