//! `cargo xtask around`: the tests in sandboxes, in namespaces and in sparse environments.

use lexopt::{
    Arg::{Long, Short, Value},
    ValueExt as _,
};

use crate::{
    failure::Failure,
    steps::{self, Step},
    workspace::Workspace,
};

const HELP: &str = "\
Runs the tests with several processes in other environments: all of them, or those named by NAME:

  enosys  pidfd_open, pidfd_send_signal, clone3, close_range, execveat and memfd_create (except for
          tests that cross an exec) fail with ENOSYS
  eperm   the same calls fail with EPERM, except that a C library's clone3 fails with ENOSYS if a
          test needs that
  linux317
          everything newer than Linux 3.17, the oldest supported kernel, fails: calls with ENOSYS,
          flags and options with EINVAL or ENOPROTOOPT
  pid1    each case is process 1 of a PID namespace (needs root)
  noproc  /proc is empty (needs root)
  readonly
          the root file system is read-only; the tests use one in memory (needs root)
  noshm   /dev has a few devices, but no /dev/shm and no /dev/log (needs root)
  fullshm /dev/shm is full (needs root)
  closed  descriptors 0 to 2 are closed

Environments that are not available here are skipped. A case that makes no sense in an environment
is left out: its output says why, and it counts as ignored. A failed step does not stop the rest.

Usage: cargo xtask around [OPTIONS] [NAME...]

Options:
      --quick   only the suites that take a few seconds, as in `cargo xtask ci` (which omits
                readonly, noshm and fullshm)
  -h, --help    print this help

Exit codes: 0 no step failed, 1 a step failed, 2 wrong arguments";

/// The environments, and the names of their steps.
const ALL: [(&str, &str); 9] = [
    ("enosys", "around enosys"),
    ("eperm", "around eperm"),
    ("linux317", "around linux317"),
    ("pid1", "around pid1"),
    ("noproc", "around noproc"),
    ("readonly", "around readonly"),
    ("noshm", "around noshm"),
    ("fullshm", "around fullshm"),
    ("closed", "around closed"),
];

/// The environments that `cargo xtask ci` has no time for.
const RARE: [&str; 3] = ["readonly", "noshm", "fullshm"];

/// The suites that take a few seconds, and the others.
const QUICK: &[&str] = &["exec", "execs", "fork", "pools", "several", "spawn"];
const SLOW: &[&str] = &[
    "allocation",
    "barrier",
    "chaos",
    "connect",
    "container",
    "event_loops",
    "faults",
    "fork_safety",
    "heist",
    "hostile",
    "laws",
    "logd",
    "pressure",
    "transport",
    "typed",
    "walks",
    "whose_fault",
    "worker",
];

/// Which suites to run.
#[derive(Clone, Copy)]
pub(crate) enum Suites {
    All,
    Quick,
}

/// Runs the verb.
pub(crate) fn run(mut args: lexopt::Parser) -> Result<(), Failure> {
    let (mut names, mut suites) = (Vec::new(), Suites::All);
    while let Some(arg) = args.next()? {
        match arg {
            Long("help") | Short('h') => {
                println!("{HELP}");
                return Ok(());
            }
            Long("quick") => suites = Suites::Quick,
            Value(name) => names.push(name.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    if let Some(name) = names.iter().find(|name| ALL.iter().all(|(known, _)| known != name)) {
        return Err(Failure::Arguments(format!("no environment {name:?}")));
    }
    let workspace = Workspace::find()?;
    let steps =
        steps(&workspace, suites, |name| names.is_empty() || names.iter().any(|it| it == name));
    steps::run(&workspace, steps)
}

/// Returns whether `cargo xtask ci` runs the suites in this environment, too.
pub(crate) fn is_usual(name: &str) -> bool {
    !RARE.contains(&name)
}

/// Returns a step for each chosen environment.
pub(crate) fn steps(
    workspace: &Workspace,
    suites: Suites,
    is_chosen: impl Fn(&str) -> bool,
) -> Vec<Step> {
    let slow = match suites {
        Suites::All => SLOW,
        Suites::Quick => &[],
    };
    let step = |&(name, title): &(&str, &'static str)| {
        let mut test = workspace.cargo(&["test", "--locked", "--no-fail-fast", "-p", "ipc-tests"]);
        for suite in QUICK.iter().chain(slow) {
            test.args(["--test", suite]);
        }
        test.env("IPC_TESTS_AROUND", name);
        Step::command(title, test)
    };
    ALL.iter().filter(|(name, _)| is_chosen(name)).map(step).collect()
}
