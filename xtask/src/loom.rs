//! `cargo xtask loom`: models of what processes do to each other's words.

use std::env;

use crate::{
    failure::Failure,
    steps::{self, Step},
    workspace::Workspace,
};

const HELP: &str = "\
Runs the models of the words that processes share: the cursors of the ring, the words of requests, and
the barrier's lane in memory. loom tries all orders of two threads with at most three preemptions, and
all stores that each load may see.

Usage: cargo xtask loom

Options:
  -h, --help    print this help

LOOM_MAX_PREEMPTIONS sets another number of preemptions.

Exit codes: 0 no model failed, 1 one did, 2 wrong arguments";

/// How the models build, and how far they go: one more preemption takes five times as long.
const SETTINGS: [(&str, &str); 3] =
    [("RUSTFLAGS", "--cfg loom"), ("CARGO_TARGET_DIR", "target/loom"), (PREEMPTIONS, "3")];
const PREEMPTIONS: &str = "LOOM_MAX_PREEMPTIONS";

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    steps::verb(args, HELP, steps)
}

/// Returns a step for each crate that has models.
pub(crate) fn steps(workspace: &Workspace) -> Vec<Step> {
    let models = |name, package, features: &[&str]| {
        let mut test = workspace.cargo(&["test", "--locked", "--release", "--lib", "--package"]);
        test.arg(package).args(features).args(["--", "models::"]);
        let asked = |name: &str| name == PREEMPTIONS && env::var_os(name).is_some();
        test.envs(SETTINGS.into_iter().filter(|(name, _)| !asked(name)));
        Step::command(name, test)
    };
    vec![
        // The sockets beside the ring know no other words than the processor's.
        models("loom ring", "ipc-transport", &["--no-default-features"]),
        models("loom barrier", "ipc-barrier", &[]),
        models("loom worker", "ipc-worker", &[]),
    ]
}
