//! logd: a small syslog daemon whose main process never touches a disk.
//!
//! ```text
//! clients ─ datagrams ─▶ main: socket, intake ─ requests ─▶ worker: append, rotate, sync
//!                           └─ a full intake lets clients wait, or drops and counts
//! ```
//!
//! `common` needs no standard library.

mod check;
mod common;
mod daemon;
mod listener;
mod options;
mod say;
mod service;
mod signals;
mod stats;
mod work;

use std::ffi::CString;
use std::fmt;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use ipc_worker::{Launch, Start};
use rustix::io::Errno;

use crate::common::disk::{self, Disk};
use crate::common::files::{Files, Limits};
use crate::common::mark::Mark;
use crate::common::place::Place;
use crate::common::policy::{Policy, why_not_opened};
use crate::common::words::Named;
use crate::daemon::{Daemon, RESTART};
use crate::options::{Asked, Options};
use crate::say::{complain, report};
use crate::service::{Ids, PidFile, Readiness};
use crate::signals::Signals;
use crate::work::Slow;

/// How long what has come may be written where a start fails at its end.
const FAILED: Duration = Duration::from_secs(5);
/// Exit status for a wrong command line, as most tools have it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match options::parse(std::env::args_os()) {
        Ok(Asked::Help) => print(options::HELP),
        Ok(Asked::Version) => print(concat!("logd ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Asked::Check(dir)) => {
            let what = format!("--check {}", dir.display());
            end(check::check(&dir).map_err(|error| Trouble::at(what)(&error)))
        }
        Ok(Asked::Run(options)) => end(run(&options).map(|()| true)),
        Err(error) => {
            complain(format_args!("{error}\nTry 'logd --help'."));
            ExitCode::from(USAGE)
        }
    }
}

/// Prints what was asked for, however long its reader takes.
fn print(text: &str) -> ExitCode {
    // Without a reader nobody misses it.
    _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Returns the exit status of what was asked, and says why where it went wrong.
fn end(result: Result<bool, Trouble>) -> ExitCode {
    let is_well = result.unwrap_or_else(|trouble| {
        complain(format_args!("{trouble}"));
        false
    });
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What ends the daemon, in words for the one who started it.
struct Trouble(String);

impl Trouble {
    /// Says what was tried when the error came.
    fn at(what: impl fmt::Display) -> impl FnOnce(&dyn fmt::Display) -> Self {
        move |error| Self(format!("{what}: {error}"))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Opens what main needs, in the order in which it may fail, and serves until it is told to stop.
fn run(options: &Options) -> Result<(), Trouble> {
    // Before anything is opened that could lie at its number.
    let readiness = Readiness::new(options.ready_fd)?;
    say::open();
    let ids = options.identity.find()?;
    let signals = Signals::register().map_err(|error| Trouble::at("signals")(&error))?;
    let place = open_dir(options, &signals)?;
    ids.iter().for_each(|ids| place.give(ids.user()));
    let listener = listener::Listener::bind(&options.socket, options.mode)?;
    let pid_file = options.pid_file.as_deref().map(PidFile::open).transpose()?;
    ids.map_or(Ok(()), Ids::take)?;
    let begun = Begun { readiness, pid_file };
    let server = work::Server(Slow { disk: new_disk(place, options), stall: options.stall });
    if options.inline {
        return begun.serve(Daemon::start(Start::inline(server), listener, signals, options)?);
    }
    let start = Start::fork(server).restart(RESTART);
    begun.serve(Daemon::start(start, listener, signals, options)?)
}

/// Opens and locks the directory, once another daemon and its worker have left it: what such a worker
/// still has, it writes. Clients send only after that.
fn open_dir(options: &Options, signals: &Signals) -> Result<Place, Trouble> {
    let trouble = |error: &dyn fmt::Display| {
        Trouble::at(format_args!("--dir {}", options.dir.display()))(error)
    };
    let path = CString::new(options.dir.as_os_str().as_bytes()).map_err(|it| trouble(&it))?;
    // Once, for as long as the program runs.
    let path = Box::leak(path.into_boxed_c_str());
    let mut place = Place::open(path).map_err(|error| trouble(&error))?;
    let goes_on = || {
        let told = signals.take();
        !told.stop && !told.quit
    };
    match disk::lock(&mut place, goes_on) {
        Err(Errno::AGAIN) => Err(trouble(&why_not_opened(Errno::AGAIN))),
        locked => {
            locked.map(|()| place).map_err(|it| trouble(&format_args!("lock: {}", Named(it))))
        }
    }
}

fn new_disk(place: Place, options: &Options) -> Disk<Box<[u8]>> {
    let &Options { rotate_bytes, keep, symlinks, inline, when_full, .. } = options;
    let begun = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mark = Mark::new(std::process::id(), begun);
    let limits = Limits { rotate_bytes, keep, symlinks };
    let files = Files::new(place, mark, limits, report);
    let memory = vec![0; disk::LINES].into_boxed_slice();
    Disk::new(files, Policy::new(when_full), memory, inline, report)
}

/// Who is to know that the daemon runs.
struct Begun {
    readiness: Readiness,
    pid_file: Option<PidFile>,
}

impl Begun {
    fn serve<L: Launch>(mut self, mut daemon: Daemon<L>) -> Result<(), Trouble> {
        if let Err(trouble) = self.pid_file.as_mut().map_or(Ok(()), PidFile::write) {
            daemon.begin_stop(FAILED);
            _ = daemon.run();
            return Err(trouble);
        }
        self.readiness.ready();
        listener::say_if_short();
        let result = daemon.run();
        // While the directory is still locked: the next daemon may use the same file.
        drop(self.pid_file);
        result
    }
}
