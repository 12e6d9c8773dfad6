//! The demo's command line.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf};

use lexopt::{
    Arg::{Long, Short},
    ValueExt as _,
};

use super::daemon::STALL;
use crate::failure::Failure;

pub(crate) const HELP: &str = "\
Puts logd, a small syslog daemon, under load with real datagrams. In the first run logd writes its
files itself. In the second run a worker process writes them, and is killed and stopped under
load. In both runs the disk is slow: writes stall for 200 ms in each 250 ms. At the end every
message is looked up in the files. Takes less than a minute plus the build.

Usage: cargo xtask demo [OPTIONS]

Options:
      --seconds N    seconds of load without the worker, and again with it [default: 8, 1 to 60]
      --rate N       messages per second [default: 400, 1 to 20000]
      --path DIR     write below DIR [default: the folder for temporary files]
      --no-stall     do not slow the disk
      --json FILE    also write the figures to FILE
  -h, --help         print this help

Exit codes: 0 every check passed, 1 a check or the run failed, 2 wrong arguments";

const SECONDS: RangeInclusive<u64> = 1..=60;
const RATE: RangeInclusive<u64> = 1..=20_000;

/// What to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) seconds: u64,
    pub(crate) rate: u64,
    pub(crate) path: Option<PathBuf>,
    /// In the form of logd's option.
    pub(crate) stall: Option<&'static str>,
    pub(crate) json: Option<PathBuf>,
    /// Whether to draw the chart.
    pub(crate) report: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: 8, rate: 400, path: None, stall: Some(STALL), json: None, report: false }
    }
}

impl Options {
    /// Reads the command line; `None` when it asks for help.
    pub(crate) fn parse(mut args: lexopt::Parser) -> Result<Option<Self>, Failure> {
        let mut options = Self::default();
        while let Some(arg) = args.next()? {
            match arg {
                Long("help") | Short('h') => return Ok(None),
                Long("seconds") => options.seconds = number(&mut args, "--seconds", SECONDS)?,
                Long("rate") => options.rate = number(&mut args, "--rate", RATE)?,
                Long("path") => options.path = Some(args.value()?.into()),
                Long("no-stall") => options.stall = None,
                Long("json") => options.json = Some(args.value()?.into()),
                Long("report") => options.report = true,
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(options))
    }
}

fn number(
    args: &mut lexopt::Parser,
    name: impl Display,
    range: RangeInclusive<u64>,
) -> Result<u64, Failure> {
    let number = args.value()?.parse()?;
    if range.contains(&number) {
        return Ok(number);
    }
    let (least, most) = range.into_inner();
    Err(Failure::Arguments(format!("{name} must be {least} to {most}, not {number}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Option<Options>, Failure> {
        Options::parse(lexopt::Parser::from_args(args))
    }

    #[test]
    fn options_are_read() {
        let args = ["--seconds", "3", "--rate=50", "--no-stall", "--path", "/mnt", "--json=a"];
        let options = parse(&args).unwrap().unwrap();
        let (path, json) = (Some("/mnt".into()), Some("a".into()));
        let expected = Options { seconds: 3, rate: 50, path, stall: None, json, report: false };
        assert_eq!(options, expected);
        let options = parse(&["--report"]).unwrap().unwrap();
        assert_eq!(options, Options { report: true, ..Options::default() });
        assert_eq!(parse(&["--help"]).unwrap(), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for args in [["--seconds", "0"], ["--rate", "x"], ["--speed", "1"], ["more", "--path"]] {
            assert!(matches!(parse(&args), Err(Failure::Arguments(_))), "{args:?}");
        }
    }
}
