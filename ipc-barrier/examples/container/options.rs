//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use ipc_barrier::Instant;
use lexopt::prelude::{Long, Short, Value, ValueExt};

use crate::side::EXEC;

pub(crate) const HELP: &str = "\
container - start a program in new namespaces, in five stages

Usage: container [options] [PROGRAM [ARGUMENT…]]

The parent and its child meet after each stage: 1 fork, 2 namespaces (session, user, host name,
mounts), 3 uid map (written by the parent), 4 set-up (host name, mounts, directory, privileges),
5 exec. Steps that are not permitted are reported and skipped. Without PROGRAM, this program
executes itself, then reports that it is ready or why it is not.

  --hostname NAME      the host name inside (default: container)
  --dir PATH           the working directory inside (default: /)
  --deadline MS        time limit for each stage, in milliseconds (default: 5000)
  -h, --help           print this help

To see what a failure looks like:
  --fail STAGE         the child fails in this stage
  --fail-parent STAGE  the parent fails in this stage
  --die STAGE          the child kills itself (SIGKILL) in this stage
  --die-parent STAGE   the parent kills itself in this stage
  --stop STAGE         the child stops itself (SIGSTOP), so that the deadline passes

SIGHUP, SIGINT and SIGTERM are forwarded to PROGRAM. Signals that arrive during the start are
forwarded afterwards.

Exit status:
  that of PROGRAM, or 128 plus the signal's number if a signal killed it
  125 if the start failed or the arguments are wrong
  126 if PROGRAM cannot be executed
  127 if PROGRAM was not found
A PROGRAM that is killed between its set-up and its exec counts as started.
";

/// What the command line asks for.
pub(crate) enum Asked {
    Help,
    Start(Options),
    /// To run as the program, after exec.
    Inside(Options, Handed),
}

/// How to start.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) hostname: OsString,
    pub(crate) dir: PathBuf,
    pub(crate) limit: Duration,
    pub(crate) plan: Option<Plan>,
    /// The program and its arguments. Empty for this program itself.
    pub(crate) command: Vec<OsString>,
}

/// What the child hands to this same program across exec.
pub(crate) struct Handed {
    /// The end of the barrier, exported.
    pub(crate) end: String,
    pub(crate) start: Instant,
}

/// A failure on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) parent: bool,
    pub(crate) misdeed: Misdeed,
    pub(crate) stage: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misdeed {
    Fail,
    Die,
    Stop,
}

impl Misdeed {
    /// The option that makes the child do it.
    pub(crate) const fn option(self) -> &'static str {
        match self {
            Self::Fail => "--fail",
            Self::Die => "--die",
            Self::Stop => "--stop",
        }
    }
}

pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, lexopt::Error> {
    let mut parser = lexopt::Parser::from_iter(arguments);
    let mut options = Options {
        hostname: "container".into(),
        dir: "/".into(),
        limit: Duration::from_secs(5),
        plan: None,
        command: Vec::new(),
    };
    let (mut end, mut start) = (None, None);
    let plan = |parent, misdeed, value: OsString| {
        let stage = value.parse_with(stage)?;
        Ok::<_, lexopt::Error>(Some(Plan { parent, misdeed, stage }))
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("hostname") => options.hostname = parser.value()?,
            Long("dir") => options.dir = parser.value()?.into(),
            Long("deadline") => options.limit = parser.value()?.parse_with(milliseconds)?,
            Long("fail") => options.plan = plan(false, Misdeed::Fail, parser.value()?)?,
            Long("fail-parent") => options.plan = plan(true, Misdeed::Fail, parser.value()?)?,
            Long("die") => options.plan = plan(false, Misdeed::Die, parser.value()?)?,
            Long("die-parent") => options.plan = plan(true, Misdeed::Die, parser.value()?)?,
            Long("stop") => options.plan = plan(false, Misdeed::Stop, parser.value()?)?,
            // Internal: this program passes these to itself.
            Long("inside") => end = Some(parser.value()?.string()?),
            Long("since") => start = Some(Instant::from_nanoseconds(parser.value()?.parse()?)),
            Long("help") | Short('h') => return Ok(Asked::Help),
            Value(program) => {
                options.command.push(program);
                options.command.extend(parser.raw_args()?);
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(match (end, start) {
        (Some(end), Some(start)) => Asked::Inside(options, Handed { end, start }),
        _ => Asked::Start(options),
    })
}

fn stage(text: &str) -> Result<u16, &'static str> {
    let number = text.parse().ok().filter(|number| (1..=EXEC).contains(number));
    number.ok_or("expected a stage from 1 to 5")
}

fn milliseconds(text: &str) -> Result<Duration, &'static str> {
    let number = text.parse().ok().filter(|&number: &u32| number > 0);
    number.map(|number| Duration::from_millis(number.into())).ok_or("milliseconds must be over 0")
}
