//! The command line, and how much work each row does.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg::Long;
use lexopt::ValueExt as _;

/// How long to measure each row.
pub(crate) struct Effort {
    /// Pairs of blocks.
    pub(crate) pairs: usize,
    /// Approximate length of one block.
    pub(crate) block: Duration,
    /// Operations in the shorter traced run.
    pub(crate) traced: usize,
    /// System calls are counted for rows on at most this many processors: the counts rarely differ
    /// on two.
    pub(crate) traced_cpus: usize,
}

const FULL: Effort =
    Effort { pairs: 41, block: Duration::from_millis(20), traced: 1000, traced_cpus: 2 };
const QUICK: Effort =
    Effort { pairs: 21, block: Duration::from_millis(2), traced: 200, traced_cpus: 1 };

/// What to measure.
pub(crate) struct Options {
    pub(crate) effort: Effort,
    pub(crate) json: Option<PathBuf>,
    /// Only rows whose name contains this text.
    pub(crate) filter: Option<String>,
}

impl Options {
    pub(crate) fn parse() -> Result<Self, lexopt::Error> {
        let mut options = Self { effort: FULL, json: None, filter: None };
        let mut args = lexopt::Parser::from_env();
        while let Some(arg) = args.next()? {
            match arg {
                // `cargo bench` passes it to every bench.
                Long("bench") => {}
                Long("quick") => options.effort = QUICK,
                Long("json") => options.json = Some(args.value()?.into()),
                Long("filter") => options.filter = Some(args.value()?.string()?),
                other => return Err(other.unexpected()),
            }
        }
        Ok(options)
    }
}
