//! `cargo xtask test`: all tests of the workspace, and the static program with no C library.

use crate::{
    failure::Failure,
    steps::{self, Step},
    tiny,
    workspace::Workspace,
};

const HELP: &str = "\
Runs all tests of the workspace, then those of ipc-frame and ipc-worker with the feature postcard.
Then builds and runs tests/tiny, a static program without a C library that links all four crates
(x86_64 Linux only); its stripped size has a limit. Every step runs, also after one that failed.

Usage: cargo xtask test

Options:
  -h, --help    print this help

Exit codes: 0 no step failed, 1 a step failed, 2 wrong arguments";

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    steps::verb(args, HELP, |workspace| steps(workspace).into())
}

/// Returns what the verb runs.
pub(crate) fn steps(workspace: &Workspace) -> [Step; 3] {
    let test = |args: &[&str]| workspace.cargo(&[&["test", "--locked"], args].concat());
    let postcard = ["--package", "ipc-frame", "--package", "ipc-worker", "--features", "postcard"];
    [
        Step::command("test", test(&["--workspace"])),
        Step::command("test postcard", test(&postcard)),
        tiny::step(),
    ]
}
