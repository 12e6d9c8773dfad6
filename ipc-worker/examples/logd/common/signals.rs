//! Signals as a descriptor for the event loop (signalfd(2), Linux 2.6.27).

#![expect(unsafe_code, reason = "system calls with pointers that rustix does not have")]

use ipc_barrier::process::reset_signals;
use rustix::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Signal;
use syscalls::{Sysno, syscall};

use super::say::{Failed, fail};
use super::words::Named;

/// The kernel's signal set, as words with the lowest signal numbers first.
type Set = [usize; 64 / usize::BITS as usize];
const SET_LEN: usize = size_of::<Set>();

/// `SIG_BLOCK` (rt_sigprocmask(2)).
const BLOCK: usize = 0;

/// `SFD_NONBLOCK | SFD_CLOEXEC`, which equal the flags of open(2).
const FLAGS: u32 = rustix::fs::OFlags::NONBLOCK.union(rustix::fs::OFlags::CLOEXEC).bits();

/// Instead of a descriptor (-1): create one.
const NEW: usize = usize::MAX;

/// Bytes to read per signal. The signal's number comes first.
const RECORD: usize = 128;

/// Which signals have arrived.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// SIGHUP: reopen the log.
    pub(crate) reopen: bool,
    /// SIGTERM and SIGINT: write what was received, then stop.
    pub(crate) stop: bool,
    /// SIGQUIT: stop now.
    pub(crate) quit: bool,
}

/// SIGTERM, SIGINT, SIGQUIT and SIGHUP. They have no other effect.
pub(crate) struct Signals(OwnedFd);

impl Signals {
    /// Takes over the signals, whatever this process inherited. Unblocks all others, and ignores
    /// those that also come as errors (SIGPIPE, SIGXFSZ).
    pub(crate) fn register() -> Result<Self, Failed> {
        let ignored = [Signal::PIPE, Signal::XFSZ].map(Signal::as_raw);
        reset_signals(&ignored).map_err(|error| fail(format_args!("signals: {error}")))?;
        signalfd().map(Self).map_err(|error| fail(format_args!("signals: {}", Named(error))))
    }

    /// Takes the signals that arrived since the last call.
    pub(crate) fn take(&self) -> Told {
        let mut told = Told::default();
        let mut record = [0; RECORD];
        // An empty descriptor returns an error too.
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

/// Blocks the signals and creates a descriptor for them.
fn signalfd() -> Result<OwnedFd, Errno> {
    let taken = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];
    let mut set = Set::default();
    let [first, ..] = &mut set;
    *first = taken.iter().fold(0, |set, signal| set | 1 << (signal.as_raw() - 1));
    // SAFETY: the kernel reads the set and writes nothing.
    unsafe { syscall!(Sysno::rt_sigprocmask, BLOCK, &raw const set, 0, SET_LEN) }.map_err(errno)?;
    // SAFETY: the kernel reads the set.
    let fd = unsafe { syscall!(Sysno::signalfd4, NEW, &raw const set, SET_LEN, FLAGS) }
        .map_err(errno)?;
    let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just created it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn errno(error: syscalls::Errno) -> Errno {
    Errno::from_raw_os_error(error.into_raw())
}
