//! The command line, and how much work it asks for.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg::Long;
use lexopt::ValueExt as _;

/// How long to measure.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) repetitions: usize,
    /// How long a contender is measured per repetition, not counting its start.
    pub(crate) block: Duration,
    /// Rounds whose system calls and allocations are counted.
    pub(crate) counted: usize,
}

const FULL: Pace = Pace { repetitions: 15, block: Duration::from_millis(60), counted: 500 };
const QUICK: Pace = Pace { repetitions: 3, block: Duration::from_millis(15), counted: 100 };

pub(crate) struct Options {
    pub(crate) pace: Pace,
    pub(crate) is_quick: bool,
    /// Only rows whose name contains this text.
    pub(crate) filter: String,
    /// Where to write the figures.
    pub(crate) json: Option<PathBuf>,
    /// The folder for the report.
    pub(crate) report: Option<PathBuf>,
    /// The figures of an earlier run, reported instead of measuring.
    pub(crate) from: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(mut args: lexopt::Parser) -> Result<Self, lexopt::Error> {
        let mut options = Self {
            pace: FULL,
            is_quick: false,
            filter: String::new(),
            json: None,
            report: None,
            from: None,
        };
        while let Some(arg) = args.next()? {
            match arg {
                Long("quick") => (options.pace, options.is_quick) = (QUICK, true),
                Long("filter") => options.filter = args.value()?.string()?,
                Long("json") => options.json = Some(args.value()?.into()),
                Long("report") => options.report = Some(args.value()?.into()),
                Long("from") => options.from = Some(args.value()?.into()),
                other => return Err(other.unexpected()),
            }
        }
        Ok(options)
    }

    /// Returns whether the filter selects this part, which is not a row.
    pub(crate) fn wants(&self, what: &str) -> bool {
        self.filter.is_empty() || self.filter == what
    }
}
