//! `cargo xtask test`: all tests of the workspace, and the static program with no C library.

use crate::{
    failure::Failure,
    steps::{self, Step},
    tiny,
    workspace::Workspace,
};

const HELP: &str = "\
Runs all tests of the workspace, those of the feature postcard, then builds and runs tests/tiny, a
static program with no C library that links all four crates (x86_64 Linux only).

Usage: cargo xtask test

Options:
  -h, --help    print this help";

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
