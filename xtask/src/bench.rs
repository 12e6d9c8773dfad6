//! `cargo xtask bench`: speed compared with bare system calls.

use std::{
    path::{Path, PathBuf, absolute},
    process::Command,
};

use lexopt::{
    Arg::{Long, Short},
    ValueExt as _,
};

use crate::{failure::Failure, steps, workspace::Workspace};

const HELP: &str = "\
Measures over the transport and through a worker: round trips, 32 requests in flight, and requests
with descriptors. Also measures two processes at a barrier, and how soon a killed worker answers
again: by fork and by exec, compared with a bare posix_spawn, with a small and a large parent.

Each row runs on one CPU and on two, in short blocks that alternate with a floor: the same work with
bare system calls. The result is the ratio of the two. Prints a table with the goals, the noise of
the machine, and the rows that were left out.

The full run takes a few minutes plus the build. On a busy machine the ratios are still roughly
right, but the times are not.

With --peers it compares the crates with others instead: ipc-channel, interprocess, uds, sendfd,
tokio, tokio-unix-ipc, iceoryx2 and procspawn. It measures round trips, requests in flight,
descriptors, one-way messages, starts, restarts and barriers; then system calls (if strace is
installed), allocations and memory; and, without --quick, the size of the smallest program with
each. A crate that fails or hangs is reported and skipped. The first build takes several minutes,
and the full run about twelve.

Usage: cargo xtask bench [OPTIONS]

Options:
      --quick          shorter blocks: all rows within 30 s, with --peers within 2 minutes
      --json FILE      also write the rows to FILE
      --filter WORD    only rows whose name contains WORD: for example \"worker\", \", 2 cpus\" or
                       \"starts\" (the killed worker); with --peers \"uds\", \", 2 CPUs\", \"costs\"
                       or \"sizes\"
      --peers          measure other crates too
      --report         as --peers, and also write tables and charts to docs/bench
      --from FILE      with --report: do not measure; report the rows that --json wrote to FILE
  -h, --help           print this help

Exit codes: 0 measured, even if a goal is missed or another crate fails; 1 a row failed; 2 wrong
arguments";

/// The package of the race with other crates, a separate workspace.
pub(crate) const PEERS: &str = "tests/peers/Cargo.toml";

/// The folder of the report.
const REPORT: &str = "docs/bench";

/// The bench of the killed worker.
const STARTS: &str = "starts";

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    quick: bool,
    json: Option<PathBuf>,
    filter: Option<String>,
    race: Option<Race>,
}

/// What to do with the results of the race with other crates.
#[derive(Debug, PartialEq, Eq)]
enum Race {
    /// Print them.
    Shown,
    /// Print them and write a report.
    Reported,
    /// Write a report of an earlier run.
    Former(PathBuf),
}

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    let Some(options) = Options::parse(args)? else {
        println!("{HELP}");
        return Ok(());
    };
    let workspace = Workspace::find()?;
    if let Some(race) = &options.race {
        return steps::run_command(&mut peers(&workspace, &options, race)?);
    }
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
        command.arg("--json").arg(whole(&path)?);
    }
    steps::run_command(&mut command)
}

/// Returns the command that runs the race.
fn peers(workspace: &Workspace, options: &Options, race: &Race) -> Result<Command, Failure> {
    let args = ["run", "--release", "--locked", "--manifest-path", PEERS, "--"];
    let mut command = workspace.cargo(&args);
    command.args(options.quick.then_some("--quick"));
    if let Some(filter) = &options.filter {
        command.arg("--filter").arg(filter);
    }
    if let Some(path) = &options.json {
        command.arg("--json").arg(whole(path)?);
    }
    if *race != Race::Shown {
        command.arg("--report").arg(workspace.root().join(REPORT));
    }
    if let Race::Former(path) = race {
        command.arg("--from").arg(whole(path)?);
    }
    Ok(command)
}

/// Returns the absolute path.
fn whole(path: &Path) -> Result<PathBuf, Failure> {
    absolute(path).map_err(Failure::of("find the current folder"))
}

impl Options {
    /// Reads the command line; `None` when it asks for help.
    fn parse(mut args: lexopt::Parser) -> Result<Option<Self>, Failure> {
        let mut options = Self::default();
        let (mut peers, mut report, mut former) = (false, false, None);
        while let Some(arg) = args.next()? {
            match arg {
                Long("help") | Short('h') => return Ok(None),
                Long("quick") => options.quick = true,
                Long("json") => options.json = Some(args.value()?.into()),
                Long("filter") => options.filter = Some(args.value()?.string()?),
                Long("peers") => peers = true,
                Long("report") => report = true,
                Long("from") => former = Some(args.value()?.into()),
                other => return Err(other.unexpected().into()),
            }
        }
        options.race = match (report, former) {
            (false, Some(_)) => return Err(Failure::Arguments("--from needs --report".into())),
            (true, Some(path)) => Some(Race::Former(path)),
            (true, None) => Some(Race::Reported),
            (false, None) => peers.then_some(Race::Shown),
        };
        if report && options.filter.is_some() {
            return Err(Failure::Arguments("a report has all rows: leave out --filter".into()));
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
        assert_eq!(options, Options { quick: true, json, filter, race: None });
        assert_eq!(parse(&["-h"]).unwrap(), None);
    }

    #[test]
    fn a_report_is_of_the_race() {
        let race = |args| parse(args).unwrap().unwrap().race;
        assert_eq!(race(&["--peers", "--filter=uds"]), Some(Race::Shown));
        assert_eq!(race(&["--report"]), Some(Race::Reported));
        assert_eq!(race(&["--peers", "--report", "--from", "a"]), Some(Race::Former("a".into())));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = [
            ["--slow", "x"],
            ["more", "--quick"],
            ["--quick", "--json"],
            ["--peers", "--from=a"],
            ["--report", "--filter=uds"],
        ];
        for args in refused {
            assert!(matches!(parse(&args), Err(Failure::Arguments(_))), "{args:?}");
        }
    }
}
