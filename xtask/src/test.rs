//! `cargo xtask test`: all tests of the workspace, and the static program with no C library.

use crate::{
    failure::Failure,
    steps::{self, Step},
    tiny,
    workspace::Workspace,
};

const HELP: &str = "\
Runs all tests of the workspace, with all that the crates have. Then builds and runs tests/tiny, a
static program without a C library that links all four crates (x86_64 Linux only); its stripped
size has a limit. Every step runs, also after one that failed.

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
    vec![Step::command("test", test), tiny::step()]
}
