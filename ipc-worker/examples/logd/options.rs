//! The command line.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::{Long, Short, ValueExt};

use crate::common::line::MESSAGE;
use crate::common::log::Symlinks;
use crate::common::policy::WhenFull;
use crate::service::Identity;

pub(crate) const HELP: &str = "\
logd - a small syslog daemon whose main process never waits for a disk

Usage: logd --socket PATH --dir DIR [options]
       logd --check DIR    say whether every line in DIR/log, DIR/log.1 and so on is whole

  --socket PATH      receive datagrams here, in RFC 3164 or RFC 5424 form
  --dir DIR          append to DIR/log; older files are DIR/log.1, DIR/log.2 and so on
  --mode OCTAL       permissions of the socket (default 666)
  --user, --group    become these (names or numbers) once socket and DIR are open
  --rotate-bytes N   begin a new file before DIR/log grows over N bytes (default 10485760)
  --keep N           keep N older files (default 4)
  --intake N         bytes of messages that may wait for the disk in memory (default 1048576)
  --when-full WHAT   of disk or intake: wait (then senders wait too; default), drop-oldest (the
                     oldest older file, then messages) or drop-new; the log counts what it lacks
  --follow-symlinks  write through a symbolic link at DIR/log; it is renamed at a rotation
  --trusted          write pid, uid and gid of each sender, as the kernel knows them
  --pid-file PATH    write the process number there once all is ready
  --ready-fd N       write a line there once all is ready (s6); systemd is told by its socket
  --stop-within S    write what has come for at most S seconds at the end (default 60)
  --stats            print figures on standard output every second, and keep a tick of 1 ms
  --stall MS/PERIOD, --inline   for measurements: stall writes for MS of each PERIOD
                     milliseconds; write in the main process
  --help, --version

SIGTERM, SIGINT: write what has come, and stop. SIGQUIT: stop now, and name what is lost.
SIGHUP: open DIR and DIR/log again.
DIR/running marks a start; it goes at an end with everything written or counted. If one is left by
a kill or a stop that left something, the next start says so on standard error and in the log.
DIR/lock keeps a second daemon off.

A line: time of receipt (UTC), facility.severity, text; the client's time if over 2 s off (one
without a zone: in every zone). \\xNN is a byte that a terminal may obey or that is not UTF-8
(\\x5cx: \\x was sent), \\x[N bytes cut] the end of a message over 16384 bytes.

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
    pub(crate) identity: Identity,
    pub(crate) rotate_bytes: u64,
    pub(crate) keep: u32,
    pub(crate) intake: usize,
    pub(crate) when_full: WhenFull,
    pub(crate) symlinks: Symlinks,
    pub(crate) trusted: bool,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) ready_fd: Option<RawFd>,
    pub(crate) stop_within: Duration,
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
    let mut options = Options {
        socket: PathBuf::new(),
        dir: PathBuf::new(),
        mode: 0o666,
        identity: Identity { user: None, group: None },
        rotate_bytes: 10 << 20,
        keep: 4,
        intake: 1 << 20,
        when_full: WhenFull::Wait,
        symlinks: Symlinks::Refuse,
        trusted: false,
        pid_file: None,
        ready_fd: None,
        stop_within: Duration::from_secs(60),
        inline: false,
        stats: false,
        stall: None,
    };
    let mut check = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("socket") => options.socket = parser.value()?.into(),
            Long("dir") => options.dir = parser.value()?.into(),
            Long("mode") => options.mode = parser.value()?.parse_with(octal)?,
            Long("user") => options.identity.user = Some(parser.value()?.string()?),
            Long("group") => options.identity.group = Some(parser.value()?.string()?),
            Long("rotate-bytes") => options.rotate_bytes = parser.value()?.parse_with(positive)?,
            Long("keep") => options.keep = parser.value()?.parse()?,
            Long("intake") => options.intake = parser.value()?.parse_with(intake)?,
            Long("when-full") => options.when_full = parser.value()?.parse_with(WhenFull::parse)?,
            Long("follow-symlinks") => options.symlinks = Symlinks::Follow,
            Long("trusted") => options.trusted = true,
            Long("pid-file") => options.pid_file = Some(parser.value()?.into()),
            Long("ready-fd") => options.ready_fd = Some(parser.value()?.parse_with(beyond_stdio)?),
            Long("stop-within") => {
                options.stop_within = Duration::from_secs(parser.value()?.parse::<u32>()?.into());
            }
            Long("inline") => options.inline = true,
            Long("stats") => options.stats = true,
            Long("stall") => options.stall = Some(parser.value()?.parse_with(Stall::parse)?),
            Long("check") => check = Some(PathBuf::from(parser.value()?)),
            Long("help") | Short('h') => return Ok(Asked::Help),
            Long("version") => return Ok(Asked::Version),
            other => return Err(other.unexpected()),
        }
    }
    if let Some(dir) = check {
        return Ok(Asked::Check(dir));
    }
    // An empty name would bind an address of the kernel's choice, which nobody knows.
    for (path, missing) in
        [(&options.socket, "--socket PATH is missing"), (&options.dir, "--dir DIR is missing")]
    {
        if path.as_os_str().is_empty() {
            return Err(missing.into());
        }
    }
    Ok(Asked::Run(options))
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

/// A size of the intake: at least what the longest message needs, and what a system may have.
fn intake(text: &str) -> Result<usize, &'static str> {
    let least = 4 * MESSAGE;
    let most = 1 << 30;
    let is_fit = |size: &usize| (least..=most).contains(size);
    text.parse().ok().filter(is_fit).ok_or("65536 to 1073741824 bytes are needed")
}

fn beyond_stdio(text: &str) -> Result<RawFd, &'static str> {
    text.parse().ok().filter(|&number| number > 2).ok_or("a descriptor from 3 on is needed")
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
