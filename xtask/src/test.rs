//! `cargo xtask test`: all tests of the workspace, and those without a C library.

use crate::{
    failure::Failure,
    steps::{self, Step},
    tinylogd,
    workspace::Workspace,
};

const HELP: &str = "\
Runs all tests of the workspace, with all features. Then runs the workers' tests again over the
ring instead of the socket. On x86_64 Linux it also runs the static programs of tests/tinylogd,
which have no C library, and the log daemon's tests again with tinylogd. A failed step does not
stop the others.

Usage: cargo xtask test

Options:
  -h, --help    print this help

Exit codes: 0 no step failed, 1 a step failed, 2 wrong arguments";

/// The suites that start workers; `deep` also runs `walks`.
const OF_WORKERS: &[&str] = &[
    "allocation",
    "chaos",
    "event_loops",
    "execs",
    "faults",
    "hostile",
    "pools",
    "pressure",
    "typed",
    "worker",
];

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    steps::verb(args, HELP, steps)
}

/// Returns the steps of the verb.
pub(crate) fn steps(workspace: &Workspace) -> Vec<Step> {
    let test = workspace.cargo(&["test", "--locked", "--workspace"]);
    let mut over_ring = workspace.cargo(&["test", "--locked", "--package", "ipc-tests"]);
    over_ring.args(["--features", "over-ring"]);
    over_ring.args(OF_WORKERS.iter().flat_map(|suite| ["--test", suite]));
    let over_ring = Step::command("test over the ring", over_ring);
    let mut steps = vec![Step::command("test", test), over_ring];
    steps.extend(tinylogd::steps(workspace));
    steps
}
