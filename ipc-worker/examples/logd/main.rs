//! logd: a small syslog daemon whose main process never touches a disk.
//!
//! ```text
//! clients ─ datagrams ─▶ main: socket, intake ─ requests ─▶ worker: append, rotate, sync
//!                           └─ a full intake lets clients wait, or drops and counts
//! ```
//!
//! Most of it is in `common`, which needs no standard library. The parts that do are here.

mod check;
mod common;
mod figures;
mod help;
mod program;
mod typed;
mod users;

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ipc_worker::{Start, Worker};

use crate::common::daemon::{Daemon, RESTART};
use crate::common::disk;
use crate::common::opening;
use crate::common::options::{self, Arguments, Known, Options};
use crate::common::say::{Failed, fail};
use crate::figures::Figures;
use crate::program::MESSAGE;
use crate::typed::{Server, Slow, Stall};

/// Exit status for a wrong command line, as in most tools.
const USAGE: u8 = 2;

/// Options besides those of every such daemon. All of them are for measurements, except `check`.
#[derive(Default)]
struct More {
    check: PathBuf,
    inline: bool,
    stats: bool,
    stall: Option<Stall>,
}

fn main() -> ExitCode {
    let mut more = More::default();
    match options::parse(std::env::args_os().skip(1).map(leak), |option| more.read(option)) {
        Err(Failed) => ExitCode::from(USAGE),
        Ok(options::Asked::Help) => print(help::TEXT),
        Ok(options::Asked::Version) => print(concat!("logd ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(options::Asked::Other) => end(check(&more.check)),
        Ok(options::Asked::Run(options)) => end(run(&options, &more)),
    }
}

impl More {
    fn read<I>(&mut self, option: &mut Arguments<I>) -> Result<Known, Failed>
    where
        I: Iterator<Item = &'static CStr>,
    {
        match option.option() {
            b"--check" => {
                self.check = OsStr::from_bytes(option.value()?.to_bytes()).into();
                return Ok(Known::Alone);
            }
            b"--inline" => self.inline = true,
            b"--stats" => self.stats = true,
            b"--stall" => {
                let value = option.value()?;
                let stall = value.to_str().ok().and_then(Stall::parse);
                self.stall = Some(stall.ok_or_else(|| {
                    option.unfit(value, format_args!("MS/PERIOD is needed, with MS below PERIOD"))
                })?);
            }
            _ => return Ok(Known::No),
        }
        Ok(Known::Yes)
    }
}

/// Leaks a text. Options are needed until the program ends.
fn leak(text: OsString) -> &'static CStr {
    // Arguments from the system contain no zero byte.
    Box::leak(CString::new(text.into_vec()).unwrap_or_default().into_boxed_c_str())
}

/// Prints a requested text, however slow its reader is.
fn print(text: &str) -> ExitCode {
    // A missing reader does not matter.
    _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Returns the exit status. Errors have been reported.
fn end(result: Result<(), Failed>) -> ExitCode {
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check(dir: &Path) -> Result<(), Failed> {
    match check::check(dir) {
        Ok(true) => Ok(()),
        // It has printed what is wrong.
        Ok(false) => Err(Failed),
        Err(error) => Err(fail(format_args!("--check {}: {error}", dir.display()))),
    }
}

fn run(options: &Options, more: &More) -> Result<(), Failed> {
    let socket = std::env::var_os("NOTIFY_SOCKET").map(leak);
    let (place, sources) = opening::open(options, socket, users::find)?;
    let disk = opening::disk(place, options, memory(disk::LINES), more.inline);
    let server = Server(Slow { disk, stall: more.stall });
    let memory = [memory(options.intake), memory(MESSAGE)];
    let figures = Figures::new(more.stats);
    let failed = |error| opening::not_started(options, &error);
    if more.inline {
        let mut worker = Worker::start(Start::inline(server)).map_err(failed)?;
        return Daemon::new(&mut worker, sources, figures, memory).serve();
    }
    let mut worker = Worker::start(Start::fork(server).restart(RESTART)).map_err(failed)?;
    Daemon::new(&mut worker, sources, figures, memory).serve()
}

/// Returns memory that is never freed.
fn memory(len: usize) -> &'static mut [u8] {
    Box::leak(vec![0; len].into_boxed_slice())
}
