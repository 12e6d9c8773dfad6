//! `cargo xtask test`: all tests of the workspace, and the static program with no C library.

use crate::{
    around,
    failure::Failure,
    steps::{self, Step},
    tiny,
    workspace::Workspace,
};

const HELP: &str = "\
Runs all tests of the workspace, then those of ipc-frame and ipc-worker with the feature postcard.
Then builds and runs tests/tiny, a static program without a C library that links all four crates
(x86_64 Linux only); its stripped size has a limit. Then runs the quick suites in the surroundings
of `cargo xtask around`. Every step runs, also after one that failed.

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
    let test = |args: &[&str]| workspace.cargo(&[&["test", "--locked"], args].concat());
    let postcard = ["--package", "ipc-frame", "--package", "ipc-worker", "--features", "postcard"];
    let mut steps = vec![
        Step::command("test", test(&["--workspace"])),
        Step::command("test postcard", test(&postcard)),
        tiny::step(),
    ];
    steps.extend(around::steps(workspace, around::Suites::Quick, |_| true));
    steps
}
