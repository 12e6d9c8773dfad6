//! `cargo xtask mutants`: checks that the unit tests notice changes to the code.

use std::{
    fs, io,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use lexopt::{
    Arg::{Long, Short},
    ValueExt as _,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    check::FEW_STEPS,
    failure::Failure,
    process,
    steps::{self, Step},
    tools,
    workspace::Workspace,
};

const HELP: &str = "\
Changes the code that decides without I/O, one change at a time, and runs the unit tests of its
crate. A change that no test notices shows a missing test. Needs cargo-mutants, and is skipped
without it. .cargo/mutants.toml lists the accepted changes with reasons. The full run takes about
an hour.

Usage: cargo xtask mutants [OPTIONS]

Options:
      --fast         only a few files, for at most two minutes
      --file GLOB    only files that match GLOB, such as restart.rs
      --jobs N       test N changes at once [default: 1]
  -h, --help         print this help

The changes and the tests' output are in target/mutants/mutants.out.

Exit codes: 0 every change was noticed or the run was skipped, 1 a change was not noticed or the run
failed, 2 wrong arguments";

/// The folder of the results.
const OUTPUT: &str = "target/mutants";

/// The code that decides without I/O.
const CODE: &[&str] = &[
    "ipc-frame/src/decode.rs",
    "ipc-frame/src/header.rs",
    "ipc-frame/src/queue.rs",
    "ipc-transport/src/joining/joiner.rs",
    "ipc-barrier/src/meeting/rules.rs",
    "ipc-worker/src/ledger/**",
];
/// The files that `--fast` changes: their crates build and test in seconds.
const FAST: &[&str] = &["ipc-barrier/src/meeting/rules.rs", "ipc-transport/src/joining/joiner.rs"];
/// How long `--fast` may take. Changes left after that are not tested.
const FAST_TIME: Duration = Duration::from_secs(110);
/// How long cargo-mutants may take to exit once it was asked to.
const END_TIME: Duration = Duration::from_secs(20);

/// The exit codes of cargo-mutants if no test noticed a change, or if a change made a test hang.
/// Other codes mean, for example, that the unchanged code does not pass its tests.
const SURVIVED: i32 = 2;
const TIMED_OUT: i32 = 3;

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    is_fast: bool,
    files: Vec<String>,
    jobs: Option<u16>,
}

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    let Some(options) = Options::parse(args)? else {
        println!("{HELP}");
        return Ok(());
    };
    let workspace = Workspace::find()?;
    let step = step_with(&workspace, "mutants", options);
    steps::run(&workspace, vec![step])
}

/// Returns the step that tests all changes, or says why it cannot run here.
pub(crate) fn step(workspace: &Workspace) -> Step {
    step_with(workspace, "mutants", Options::default())
}

/// Returns the step that tests a few changes.
pub(crate) fn fast_step(workspace: &Workspace) -> Step {
    step_with(workspace, "mutants, fast", Options { is_fast: true, ..Options::default() })
}

fn step_with(workspace: &Workspace, name: &'static str, options: Options) -> Step {
    if tools::output(&mut workspace.cargo(&["mutants", "--version"])).is_none() {
        return Step::skip(name, "mutants (install with: cargo install --locked cargo-mutants)");
    }
    Step::call_that_remarks(name, move |workspace, remark| test(workspace, &options, remark))
}

impl Options {
    /// Reads the command line; `None` when it asks for help.
    fn parse(mut args: lexopt::Parser) -> Result<Option<Self>, Failure> {
        let mut options = Self::default();
        while let Some(arg) = args.next()? {
            match arg {
                Long("help") | Short('h') => return Ok(None),
                Long("fast") => options.is_fast = true,
                Long("file") => options.files.push(args.value()?.string()?),
                Long("jobs") => options.jobs = Some(args.value()?.parse()?),
                other => return Err(other.unexpected().into()),
            }
        }
        if options.is_fast && !options.files.is_empty() {
            return Err(Failure::Arguments("--fast has its own files: leave out --file".into()));
        }
        Ok(Some(options))
    }

    /// Returns the files to change.
    fn files(&self) -> Vec<&str> {
        match self {
            Self { is_fast: true, .. } => FAST.to_vec(),
            Self { files, .. } if files.is_empty() => CODE.to_vec(),
            Self { files, .. } => files.iter().map(String::as_str).collect(),
        }
    }
}

/// Tests the changes and reports the results.
fn test(workspace: &Workspace, options: &Options, remark: &mut String) -> Result<(), Failure> {
    let mut command = workspace.cargo(&["mutants", "--caught", "--output", OUTPUT]);
    command.env(FEW_STEPS.0, FEW_STEPS.1);
    // These builds need no debug information.
    command.env("CARGO_PROFILE_DEV_DEBUG", "false").env("RUST_BACKTRACE", "0");
    command.args(options.files().into_iter().flat_map(|file| ["--file", file]));
    command.args(options.jobs.map(|jobs| format!("--jobs={jobs}")));
    fs::create_dir_all(workspace.root().join(OUTPUT)).map_err(Failure::of("make a folder"))?;

    let code = run_for(&mut command, options.is_fast.then_some(FAST_TIME))?;
    if !matches!(code, None | Some(0 | SURVIVED | TIMED_OUT)) {
        return Err(Failure::Failed("cargo-mutants failed; its output is above".into()));
    }
    let results = Results::read(&workspace.root().join(OUTPUT).join("mutants.out"))
        .map_err(Failure::of("read the results of cargo-mutants"))?;
    *remark = results.summary(code.is_none());
    results.verdict()
}

/// Runs a command for at most the given time; `None` if it was stopped.
fn run_for(command: &mut Command, time: Option<Duration>) -> Result<Option<i32>, Failure> {
    println!("$ {}", steps::shown(command));
    let mut child = command.spawn().map_err(Failure::of("run cargo-mutants"))?;
    let wait = |child: &mut Child, time| {
        process::wait_until(child, Instant::now() + time)
            .map_err(Failure::of("wait for cargo-mutants"))
    };
    let Some(time) = time else {
        let status = child.wait().map_err(Failure::of("wait for cargo-mutants"))?;
        return Ok(status.code());
    };
    if let Some(status) = wait(&mut child, time)? {
        return Ok(status.code());
    }
    println!("stopped after {} s", time.as_secs());
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // On SIGINT it stops its builds and tests first.
        kill_process(pid, Signal::INT)
            .map_err(|error| Failure::of("stop cargo-mutants")(error.into()))?;
    }
    if wait(&mut child, END_TIME)?.is_none() {
        child.kill().map_err(Failure::of("kill cargo-mutants"))?;
        child.wait().map_err(Failure::of("wait for cargo-mutants"))?;
    }
    Ok(None)
}

/// The outcomes of the changes.
#[derive(Debug, Default)]
struct Results {
    caught: usize,
    timed_out: usize,
    survivors: Vec<String>,
}

impl Results {
    /// Reads the lists that cargo-mutants writes, with one line per change.
    fn read(folder: &Path) -> io::Result<Self> {
        let lines = |name| -> io::Result<Vec<String>> {
            let text = fs::read_to_string(folder.join(name))?;
            Ok(text.lines().map(str::to_owned).collect())
        };
        let (caught, timed_out) = (lines("caught.txt")?.len(), lines("timeout.txt")?.len());
        Ok(Self { caught, timed_out, survivors: lines("missed.txt")? })
    }

    fn summary(&self, was_stopped: bool) -> String {
        let Self { caught, timed_out, survivors } = self;
        let end = if was_stopped { ", then the time was over" } else { "" };
        let noticed = caught + timed_out;
        format!("{noticed} changes noticed ({timed_out} by time), {} not{end}", survivors.len())
    }

    fn verdict(&self) -> Result<(), Failure> {
        match self.survivors.len() {
            0 if self.caught + self.timed_out == 0 => {
                Err(Failure::Failed("no change was tested".into()))
            }
            0 => Ok(()),
            count => Err(Failure::Failed(format!(
                "no test notices these {count} changes:\n  {}\nwrite a unit test that fails with \
                 each, or accept it in .cargo/mutants.toml, with the reason",
                self.survivors.join("\n  ")
            ))),
        }
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
        let options = parse(&["--file", "a", "--file=b", "--jobs", "2"]).unwrap().unwrap();
        let files = vec!["a".into(), "b".into()];
        assert_eq!(options, Options { is_fast: false, files, jobs: Some(2) });
        assert_eq!(options.files(), ["a", "b"]);
        assert_eq!(parse(&["--fast"]).unwrap().unwrap().files(), FAST);
        assert_eq!(parse(&[]).unwrap().unwrap().files(), CODE);
        assert_eq!(parse(&["-h"]).unwrap(), None);
        for args in [&["--fast", "--file=a"][..], &["--jobs", "x"], &["a"]] {
            assert!(matches!(parse(args), Err(Failure::Arguments(_))), "{args:?}");
        }
    }

    #[test]
    fn a_change_that_no_test_notices_fails() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text| fs::write(folder.path().join(name), text).unwrap();
        write("caught.txt", "a\nb\n");
        write("timeout.txt", "c\n");
        write("missed.txt", "");
        let results = Results::read(folder.path()).unwrap();
        assert_eq!(results.summary(false), "3 changes noticed (1 by time), 0 not");
        assert!(results.verdict().is_ok());
        write("missed.txt", "d.rs:1: replace + with -\n");
        let failure = Results::read(folder.path()).unwrap().verdict().unwrap_err();
        assert!(failure.to_string().contains("d.rs:1: replace + with -"));
        assert!(Results::default().verdict().is_err(), "none was tested");
    }

    #[test]
    fn a_run_is_stopped_when_its_time_is_over() {
        let time = Some(Duration::from_millis(50));
        assert_eq!(run_for(Command::new("sleep").arg("60"), time).unwrap(), None);
        assert_eq!(run_for(&mut Command::new("false"), Some(END_TIME)).unwrap(), Some(1));
    }
}
