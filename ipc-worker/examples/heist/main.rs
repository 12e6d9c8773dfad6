//! heist: lists untrusted archives in a worker that can do nothing else.
//!
//! ```text
//! DIR ─ openat ─▶ main: opens what may be read, and reports the result
//!                  │ ▲
//!   a descriptor,  ▼ │ a listing
//!   to be read    worker: parses; it can open, connect to, start and write nothing
//! ```
//!
//! The parser has a hole, on purpose: a file can make it run an attacker's code (`exploit.rs`).
//! After that, the worker may lie about this file and about later ones. If that matters, use a new
//! worker for each file. The attacker can reach nothing else.

mod archive;
mod demo;
mod exploit;
#[cfg_attr(target_endian = "big", path = "no_filter.rs")]
mod filter;
mod folder;
mod options;
mod parser;
mod reader;
mod sandbox;

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::options::Options;
use crate::parser::Parser;
use crate::reader::{BYTES, Reader, SLOTS};

/// Exit status for a wrong command line, as in most tools.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    if ipc_worker::is_worker() {
        ipc_worker::serve::<_, SLOTS, BYTES>(|| Ok(Parser(sandbox::enter()?)));
    }
    let done = match options::parse() {
        Ok(None) => {
            say(format_args!("{}", options::HELP));
            Ok(true)
        }
        Ok(Some(options)) => run(&options),
        Err(error) => {
            eprintln!("heist: {error}\nTry 'heist --help'.");
            return ExitCode::from(USAGE);
        }
    };
    if let Err(error) = &done {
        eprintln!("heist: {error}");
    }
    if matches!(done, Ok(true)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Reads all files and reports on each. Returns whether all could be read.
fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    if let Some((dir, files)) = &options.files {
        return read(dir, files, options);
    }
    let dir = tempfile::tempdir()?;
    read(dir.path(), &demo::fill(dir.path())?, options)
}

fn read(dir: &Path, files: &[PathBuf], options: &Options) -> Result<bool, Box<dyn Error>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = openat(CWD, dir, flags, Mode::empty())
        .map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut reader = Reader::start(options)?;
    for lack in reader.lacks()?.lines() {
        eprintln!("heist: {}", lack.escape_debug());
    }
    let mut unread = 0;
    for path in files {
        let opened = folder::open(&dir, path).map_err(|why| format!("not opened: {why}"));
        let listed = opened.and_then(|file| reader.list(&file));
        unread += usize::from(listed.is_err());
        let told = listed.unwrap_or_else(|why| why);
        // Neither names nor the worker's text may reach a terminal unescaped.
        say(format_args!("{}\n", format!("{}: {told}", path.display()).escape_debug()));
    }
    let (read, lost) = (files.len() - unread, reader.stop());
    say(format_args!("files read: {read}, not read: {unread}, workers lost: {lost}\n"));
    Ok(unread == 0)
}

fn say(text: fmt::Arguments<'_>) {
    // A missing reader does not matter.
    _ = std::io::stdout().write_fmt(text);
}
