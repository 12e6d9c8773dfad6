//! `cargo xtask deep`: checks that take too long to run before every change.

use crate::{
    around, count, cross,
    failure::Failure,
    fuzz, image, loom, miri, mutants,
    steps::{self, Step},
    vendored,
    workspace::Workspace,
};

const HELP: &str = "\
Runs the checks that take too long for `cargo xtask ci`: fuzzing the decoder for a minute and the
ring for another, miri, loom, the counts of `cargo xtask count`, the long tests of barriers, of
workers (over sockets and rings) and of the log daemon, a hundred million steps of the model of a
worker and its main, the mutants, the image, the long test of the vendored packages, and the tests
in all environments and on all machines. Takes hours.

Usage: cargo xtask deep

Options:
  -h, --help    print this help

Exit codes: 0 no step failed, 1 a step failed, 2 wrong arguments";

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    steps::verb(args, HELP, plan)
}

fn plan(workspace: &Workspace) -> Vec<Step> {
    let minute = fuzz::Limits { inputs: None, seconds: Some(60) };
    let test = ["test", "--locked", "--release", "--package"];
    let mut barrier = workspace.cargo(&test);
    barrier.args(["ipc-tests", "--test", "barrier"]).env("IPC_TESTS_DEEP", "1");
    let mut workers = workspace.cargo(&test);
    workers
        .args(["ipc-tests", "--test", "chaos", "--test", "hostile", "--test", "walks"])
        .env("IPC_TESTS_DEEP", "1");
    let mut over_ring = workspace.cargo(&test);
    over_ring
        .args(["ipc-tests", "--features", "over-ring"])
        .args(["--test", "chaos", "--test", "hostile", "--test", "walks"])
        .env("IPC_TESTS_DEEP", "1");
    let mut logd = workspace.cargo(&test);
    logd.args(["ipc-tests", "--test", "logd", "--test", "lines"]).env("IPC_TESTS_DEEP", "1");
    let mut traffic = workspace.cargo(&test);
    traffic.args(["ipc-worker", "--lib", "--", "traffic"]).env("IPC_STEPS", "100000000");
    let mut steps = vec![
        fuzz::step(workspace, "fuzz decode", "decode", minute),
        fuzz::step(workspace, "fuzz ring", "ring", minute),
        count::step(workspace),
        Step::command("barrier, long", barrier),
        Step::command("workers in chaos, long", workers),
        Step::command("the same over the ring", over_ring),
        Step::command("logd, long", logd),
        Step::command("traffic, long", traffic),
        mutants::step(workspace),
        image::step(workspace),
        vendored::long_step(workspace),
    ];
    steps.extend(miri::steps(workspace));
    steps.extend(loom::steps(workspace));
    steps.extend(around::steps(workspace, around::Suites::All, |_| true));
    steps.extend(cross::steps(workspace, |_| true));
    steps
}
