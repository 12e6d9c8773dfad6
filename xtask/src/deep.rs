//! `cargo xtask deep`: what takes too long to run before every change.

use crate::{
    failure::Failure,
    fuzz, miri,
    steps::{self, Step},
    workspace::Workspace,
};

const HELP: &str = "\
Runs what takes too long for `cargo xtask ci`: a minute of fuzzing, miri, the barrier's tests with a
hundred times the races, and a hundred million steps of a worker's two sides. Every step runs, also
after one that failed; what is not installed is skipped, and said to be.

Usage: cargo xtask deep

Options:
  -h, --help    print this help";

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    steps::verb(args, HELP, plan)
}

fn plan(workspace: &Workspace) -> Vec<Step> {
    let minute = fuzz::Limits { inputs: None, seconds: Some(60) };
    let test = ["test", "--locked", "--release", "--package"];
    let mut barrier = workspace.cargo(&test);
    barrier.args(["ipc-tests", "--test", "barrier"]).env("IPC_TESTS_DEEP", "1");
    let mut traffic = workspace.cargo(&test);
    traffic.args(["ipc-worker", "--lib", "--", "traffic"]).env("IPC_STEPS", "100000000");
    vec![
        fuzz::step(workspace, "fuzz decode", "decode", minute),
        miri::step(workspace),
        Step::command("barrier, long", barrier),
        Step::command("traffic, long", traffic),
    ]
}
