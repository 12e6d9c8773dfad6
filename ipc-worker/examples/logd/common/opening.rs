//! What a daemon opens at its start, in the order of its error messages.

use core::ffi::CStr;
use core::fmt;

use heapless::Vec;
use ipc_barrier::process::Setup;
use ipc_worker::StartError;
use rustix::io::Errno;
use rustix::process::getpid;

use super::daemon::Sources;
use super::disk::{self, Disk};
use super::files::{Files, Limits};
use super::kernel::Kernel;
use super::listener::Listener;
use super::mark::Mark;
use super::options::Options;
use super::place::Place;
use super::policy::{Policy, why_not_opened};
use super::ready::{PidFile, Readiness};
use super::say::{self, Failed, fail, report};
use super::signals::Signals;
use super::wall;
use super::words::{Lossy, Named};

/// Most supplementary groups of a process.
pub(crate) const GROUPS: usize = 64;

/// The user and groups to switch to, once everything is open that needs privileges.
pub(crate) struct Ids {
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) groups: Vec<u32, GROUPS>,
}

/// Opens what main needs. `socket` is systemd's notification socket. `find` looks up `--user` and
/// `--group`.
pub(crate) fn open(
    options: &Options,
    socket: Option<&'static CStr>,
    find: impl FnOnce(&Options) -> Result<Option<Ids>, Failed>,
) -> Result<(Place, Sources), Failed> {
    // First, so that nothing else gets its number.
    let readiness = Readiness::new(options.ready_fd, socket)?;
    say::open();
    let ids = find(options)?;
    let signals = Signals::register()?;
    let place = open_dir(options.dir, &signals)?;
    ids.iter().for_each(|ids| place.give(ids.user));
    let listener = Listener::bind(options.socket, options.mode)?;
    let kernel = if options.kernel { Kernel::open() } else { None };
    let pid_file = options.pid_file.map(PidFile::open).transpose()?;
    ids.map_or(Ok(()), become_them)?;
    let &Options { when_full, trusted, stop_within, .. } = options;
    let sources = Sources {
        listener,
        kernel,
        signals,
        readiness,
        pid_file,
        when_full,
        is_trusted: trusted,
        stop_within,
    };
    Ok((place, sources))
}

/// Opens and locks the directory, once another daemon and its worker have released it. Such a
/// worker first writes what it still has. Clients can only send after that.
fn open_dir(dir: &'static CStr, signals: &Signals) -> Result<Place, Failed> {
    let mut place = Place::open(dir).map_err(|error| failed(dir, &Named(error)))?;
    let goes_on = || {
        let told = signals.take();
        !told.stop && !told.quit
    };
    match disk::lock(&mut place, goes_on) {
        Ok(()) => Ok(place),
        Err(Errno::AGAIN) => Err(failed(dir, &why_not_opened(Errno::AGAIN))),
        Err(error) => Err(failed(dir, &format_args!("lock: {}", Named(error)))),
    }
}

fn failed(dir: &CStr, why: &dyn fmt::Display) -> Failed {
    fail(format_args!("--dir {}: {why}", Lossy(dir.to_bytes())))
}

/// Switches to another user, permanently.
fn become_them(ids: Ids) -> Result<(), Failed> {
    let setup = Setup::new().ids(ids.user, ids.group, &ids.groups).apply();
    setup.map_err(|reason| fail(format_args!("--user, --group: {reason}")))
}

/// Creates the worker's disk, with memory for [`disk::LINES`].
pub(crate) fn disk(
    place: Place,
    options: &Options,
    memory: &'static mut [u8],
    is_inline: bool,
) -> Disk {
    let &Options { rotate_bytes, keep, symlinks, when_full, .. } = options;
    let mark = Mark::new(getpid().as_raw_pid().cast_unsigned(), wall::now());
    let limits = Limits { rotate_bytes, keep, symlinks };
    let files = Files::new(place, mark, limits, report);
    Disk::new(files, Policy::new(when_full), memory, is_inline, report)
}

/// Reports why there is no worker.
pub(crate) fn not_started(options: &Options, error: &StartError) -> Failed {
    failed(options.dir, error)
}
