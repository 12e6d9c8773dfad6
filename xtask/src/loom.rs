//! `cargo xtask loom`: models of the words that processes share.

use std::{env, process::Command};

use crate::{
    failure::Failure,
    steps::{self, Step},
    workspace::Workspace,
};

const HELP: &str = "\
Runs the models of the words that processes share: the ring's cursors, the words of requests, and
the barrier's lane in shared memory. loom tries every interleaving of two threads with at most
three preemptions, and every store that each load may see.

Usage: cargo xtask loom

Options:
  -h, --help    print this help

LOOM_MAX_PREEMPTIONS sets another number of preemptions.

Exit codes: 0 no model failed, 1 a model failed, 2 wrong arguments";

/// How to build the models, and the number of preemptions: one more takes five times as long.
const SETTINGS: [(&str, &str); 3] =
    [("RUSTFLAGS", "--cfg loom"), ("CARGO_TARGET_DIR", "target/loom"), (PREEMPTIONS, "3")];
const PREEMPTIONS: &str = "LOOM_MAX_PREEMPTIONS";

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    steps::verb(args, HELP, steps)
}

/// The crates that have models, and the features to build them with.
const MODELS: [(&str, &str, &[&str]); 3] = [
    // The socket code beside the ring does not build with loom's words.
    ("loom ring", "ipc-transport", &["--no-default-features"]),
    ("loom barrier", "ipc-barrier", &[]),
    ("loom worker", "ipc-worker", &[]),
];

/// Returns a step for each crate that has models.
pub(crate) fn steps(workspace: &Workspace) -> Vec<Step> {
    let step = |(name, package, features): (&'static str, &str, &[&str])| {
        let mut test = cargo(workspace, &["test", "--release"], package, features);
        test.args(["--", "models::"]);
        Step::command(name, test)
    };
    MODELS.map(step).into()
}

/// Returns a step that only checks that the models build.
pub(crate) fn check() -> Step {
    Step::call("loom, check", |workspace| {
        MODELS.iter().try_for_each(|(_, package, features)| {
            let verb = ["check", "--profile", "test"];
            steps::run_command(&mut cargo(workspace, &verb, package, features))
        })
    })
}

fn cargo(workspace: &Workspace, verb: &[&str], package: &str, features: &[&str]) -> Command {
    let mut cargo = workspace.cargo(verb);
    cargo.args(["--locked", "--lib", "--package", package]).args(features);
    let asked = |name: &str| name == PREEMPTIONS && env::var_os(name).is_some();
    cargo.envs(SETTINGS.into_iter().filter(|(name, _)| !asked(name)));
    cargo
}
