//! `cargo xtask bench`: how fast it is beside the bare system calls.

use std::path::{PathBuf, absolute};

use lexopt::{
    Arg::{Long, Short},
    ValueExt as _,
};

use crate::{failure::Failure, steps, workspace::Workspace};

const HELP: &str = "\
Measures round trips, 32 requests in flight and requests with descriptors, over the transport and
through a worker; two processes that meet at a barrier; and how soon a killed worker answers again,
by fork and by exec, beside a bare posix_spawn, with a small parent and a large one. Each runs on one processor and on two,
beside a floor: the same work by bare system calls, in alternating short blocks. The ratio of the
two is the result. Prints a table with the goals, how noisy the machine was, and what was left out.

The full run takes a few minutes besides the build. On a busy machine the ratios still hold,
roughly; the times do not.

Usage: cargo xtask bench [OPTIONS]

Options:
      --quick          shorter blocks: all rows within 30 s
      --json FILE      also write the rows to FILE
      --filter WORD    only rows whose name contains WORD, such as \"worker\" or \", 2 cpus\", or
                       \"starts\" for the killed worker
  -h, --help           print this help

Exit codes: 0 measured, even if a goal is missed; 1 a row failed; 2 wrong arguments";

/// The bench of the killed worker.
const STARTS: &str = "starts";

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    quick: bool,
    json: Option<PathBuf>,
    filter: Option<String>,
}

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    let Some(options) = Options::parse(args)? else {
        println!("{HELP}");
        return Ok(());
    };
    let workspace = Workspace::find()?;
    let bench = |name: &str| {
        let args = ["bench", "--locked", "-p", "ipc-tests", "--bench", name, "--"];
        let mut command = workspace.cargo(&args);
        command.args(options.quick.then_some("--quick"));
        command
    };
    let only_starts = options.filter.as_deref() == Some(STARTS);
    if only_starts || options.filter.is_none() {
        steps::run_command(&mut bench(STARTS))?;
    }
    if only_starts {
        return Ok(());
    }
    let mut command = bench("speed");
    if let Some(filter) = options.filter {
        command.arg("--filter").arg(filter);
    }
    if let Some(path) = options.json {
        // A bench runs in its own package's folder.
        let path = absolute(path).map_err(Failure::of("find the current folder"))?;
        command.arg("--json").arg(path);
    }
    steps::run_command(&mut command)
}

impl Options {
    /// Reads the command line; `None` when it asks for help.
    fn parse(mut args: lexopt::Parser) -> Result<Option<Self>, Failure> {
        let mut options = Self::default();
        while let Some(arg) = args.next()? {
            match arg {
                Long("help") | Short('h') => return Ok(None),
                Long("quick") => options.quick = true,
                Long("json") => options.json = Some(args.value()?.into()),
                Long("filter") => options.filter = Some(args.value()?.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Option<Options>, Failure> {
        Options::parse(lexopt::Parser::from_args(args))
    }

    #[test]
    fn options_are_read() {
        let options = parse(&["--quick", "--json=a", "--filter", "worker"]).unwrap().unwrap();
        let (json, filter) = (Some("a".into()), Some("worker".into()));
        assert_eq!(options, Options { quick: true, json, filter });
        assert_eq!(parse(&["-h"]).unwrap(), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for args in [["--slow", "x"], ["more", "--quick"], ["--quick", "--json"]] {
            assert!(matches!(parse(&args), Err(Failure::Arguments(_))), "{args:?}");
        }
    }
}
