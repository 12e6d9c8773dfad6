//! The command line.

use std::ffi::CStr;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::{Long, Short, Value, ValueExt};

use crate::sandbox::{NO_FILTER, NO_LANDLOCK};

pub(crate) const HELP: &str = "\
heist - lists untrusted tar archives in a process that can do nothing else

Usage: heist [OPTIONS] DIR FILE...
       heist [OPTIONS] --demo

Lists each FILE, a path relative to DIR. Main opens only regular files below DIR, of at most
64 MiB, and follows neither symbolic links nor `..`. A sandboxed worker parses them.

  --demo           create a directory with harmless and hostile files, and list it
  --deadline MS    give up a file after this time (default 5000, with --demo 1000)
  --no-filter      omit the system call filter, to see what it is good for
  --no-landlock    omit Landlock
  -h, --help

Exit status: 0 every file was read; 1 some file was not, or the worker did not start; 2 wrong
arguments.
";

pub(crate) struct Options {
    /// The directory and the files; `None` for the demonstration.
    pub(crate) files: Option<(PathBuf, Vec<PathBuf>)>,
    pub(crate) deadline: Duration,
    /// The worker's arguments: which parts of its sandbox to omit.
    pub(crate) without: Vec<&'static CStr>,
}

/// Parses the command line. `None` if help was requested.
pub(crate) fn parse() -> Result<Option<Options>, lexopt::Error> {
    let mut parser = lexopt::Parser::from_env();
    let (mut paths, mut demo, mut deadline, mut without) = (Vec::new(), false, None, Vec::new());
    while let Some(argument) = parser.next()? {
        match argument {
            Long("demo") => demo = true,
            Long("deadline") => deadline = Some(parser.value()?.parse()?),
            Long("no-filter") => without.push(NO_FILTER),
            Long("no-landlock") => without.push(NO_LANDLOCK),
            Long("help") | Short('h') => return Ok(None),
            Value(path) => paths.push(PathBuf::from(path)),
            other => return Err(other.unexpected()),
        }
    }
    let deadline = Duration::from_millis(deadline.unwrap_or(if demo { 1000 } else { 5000 }));
    let files = match (demo, paths.len()) {
        (true, 0) => None,
        (false, 2..) => Some((paths.remove(0), paths)),
        _ => return Err("DIR and at least one FILE are needed, or --demo alone".into()),
    };
    Ok(Some(Options { files, deadline, without }))
}
