//! `cargo xtask test`: all tests of the workspace, and of what has no C library.

use crate::{
    failure::Failure,
    steps::{self, Step},
    tinylogd,
    workspace::Workspace,
};

const HELP: &str = "\
Runs all tests of the workspace, with all that the crates have. Then runs the static programs of
tests/tinylogd, which have no C library, and the tests of the log daemon once more, with tinylogd
(x86_64 Linux only). Every step runs, also after one that failed.

Usage: cargo xtask test

Options:
  -h, --help    print this help

Exit codes: 0 no step failed, 1 a step failed, 2 wrong arguments";

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    steps::verb(args, HELP, steps)
}

/// Returns what the verb runs.
pub(crate) fn steps(workspace: &Workspace) -> Vec<Step> {
    let test = workspace.cargo(&["test", "--locked", "--workspace"]);
    let mut steps = vec![Step::command("test", test)];
    steps.extend(tinylogd::steps(workspace));
    steps
}
