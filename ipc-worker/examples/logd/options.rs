//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::{Long, Short, ValueExt};

use crate::log::Symlinks;
use crate::policy::WhenFull;

pub(crate) const HELP: &str = "\
logd - a small syslog daemon whose main process never waits for a disk

Usage: logd --socket PATH --dir DIR [options]
       logd --check DIR

  --socket PATH      receive datagrams here, in RFC 3164 or RFC 5424 form
  --dir DIR          append to DIR/log; older files are DIR/log.1, DIR/log.2 and so on
  --mode OCTAL       permissions of the socket (default 666)
  --rotate-bytes N   begin a new file before DIR/log grows over N bytes (default 10485760)
  --keep N           keep N older files (default 4)
  --trusted          write pid, uid and gid of each sender, as the kernel knows them
  --check DIR        say whether every line in DIR/log, DIR/log.1 and so on is whole
  --when-full WHAT   wait, drop-oldest (the oldest older file, then messages) or drop-new
                     (messages, counted in the log); default wait
  --follow-symlinks  write through a symbolic link at DIR/log; it is renamed at a rotation
  --inline           do the disk's work in the main process, for comparison
  --stats            print figures on standard output, a line per second
  --stall MS/PERIOD  for measurements: stall writes for MS of each PERIOD milliseconds
  --help, --version

Signals: SIGTERM and SIGINT write what has been received and stop; a second one does not wait
for the disk. SIGHUP reopens DIR and DIR/log.

A line: time of receipt (UTC), facility.severity, text. The client's time is kept if it is over
2 s off. \\xNN is a byte that a terminal may obey or that is no UTF-8 (\\x5cx is \\x as sent), and
\\x[N bytes cut] the end of a message over 16384 bytes.

Exit status: 0 stopped as told, or every line is whole; 1 failed, stopped before everything was
written, or some line is not whole; 2 wrong arguments.
";

/// What the command line asks for.
pub(crate) enum Asked {
    Help,
    Version,
    Check(PathBuf),
    Run(Options),
}

/// How to run.
pub(crate) struct Options {
    pub(crate) socket: PathBuf,
    pub(crate) dir: PathBuf,
    pub(crate) mode: u32,
    pub(crate) rotate_bytes: u64,
    pub(crate) keep: u32,
    pub(crate) trusted: bool,
    pub(crate) when_full: WhenFull,
    pub(crate) symlinks: Symlinks,
    pub(crate) inline: bool,
    pub(crate) stats: bool,
    pub(crate) stall: Option<Stall>,
}

/// An injected stall: the first `length` of each `period` of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stall {
    pub(crate) length: Duration,
    pub(crate) period: Duration,
}

pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, lexopt::Error> {
    let mut parser = lexopt::Parser::from_iter(arguments);
    let (mut socket, mut dir) = (None, None);
    let (mut mode, mut rotate_bytes, mut keep) = (0o666, 10 << 20, 4);
    let (mut when_full, mut symlinks) = (WhenFull::Wait, Symlinks::Refuse);
    let (mut trusted, mut inline, mut stats, mut stall) = (false, false, false, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("socket") => socket = Some(PathBuf::from(parser.value()?)),
            Long("dir") => dir = Some(PathBuf::from(parser.value()?)),
            Long("mode") => mode = parser.value()?.parse_with(octal)?,
            Long("rotate-bytes") => rotate_bytes = parser.value()?.parse_with(positive)?,
            Long("keep") => keep = parser.value()?.parse()?,
            Long("trusted") => trusted = true,
            Long("when-full") => when_full = parser.value()?.parse_with(WhenFull::parse)?,
            Long("follow-symlinks") => symlinks = Symlinks::Follow,
            Long("inline") => inline = true,
            Long("stats") => stats = true,
            Long("stall") => stall = Some(parser.value()?.parse_with(Stall::parse)?),
            Long("check") => return Ok(Asked::Check(PathBuf::from(parser.value()?))),
            Long("help") | Short('h') => return Ok(Asked::Help),
            Long("version") => return Ok(Asked::Version),
            other => return Err(other.unexpected()),
        }
    }
    // An empty name would bind an address of the kernel's choice, which nobody knows.
    let given = |path: &PathBuf| !path.as_os_str().is_empty();
    let socket = socket.filter(given).ok_or("--socket PATH is missing")?;
    let dir = dir.filter(given).ok_or("--dir DIR is missing")?;
    Ok(Asked::Run(Options {
        socket,
        dir,
        mode,
        rotate_bytes,
        keep,
        trusted,
        when_full,
        symlinks,
        inline,
        stats,
        stall,
    }))
}

fn octal(text: &str) -> Result<u32, &'static str> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("an octal number up to 777 is needed"),
    }
}

fn positive(text: &str) -> Result<u64, &'static str> {
    text.parse().ok().filter(|&count| count > 0).ok_or("a number of bytes is needed")
}

impl WhenFull {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "wait" => Ok(Self::Wait),
            "drop-oldest" => Ok(Self::DropOldest),
            "drop-new" => Ok(Self::DropNew),
            _ => Err("wait, drop-oldest or drop-new is needed"),
        }
    }
}

impl Stall {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let millis = |text: &str| text.parse().ok().map(Duration::from_millis);
        text.split_once('/')
            .and_then(|(length, period)| {
                Some(Self { length: millis(length)?, period: millis(period)? })
            })
            .filter(|stall| stall.length < stall.period)
            .ok_or("MS/PERIOD is needed, with MS below PERIOD")
    }
}
