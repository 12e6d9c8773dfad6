//! `cargo xtask miri`: the tests of code without an OS in miri, which detects undefined behaviour.

use crate::{
    failure::Failure,
    steps::{self, Step},
    tools,
    workspace::Workspace,
};

const HELP: &str = "\
Runs in miri, an interpreter that detects undefined behaviour: the tests of ipc-frame, those of
ipc-transport without sockets (the ring is among them), and those of ipc-worker's ledger (requests,
their words, blocks). Needs nightly Rust with the components miri and rust-src, and is skipped without
them.

Usage: cargo xtask miri

Options:
  -h, --help    print this help

Exit codes: 0 no step failed, 1 a step failed, 2 wrong arguments";

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    steps::verb(args, HELP, steps)
}

const FRAME: &[&str] = &["--package", "ipc-frame"];

/// The features of the crates that know no operating system.
const FEATURES: &[&str] =
    &["--no-default-features", "--features", "ipc-frame/std,ipc-frame/postcard"];

/// Returns the steps that run the tests, or say why they cannot run here.
pub(crate) fn steps(workspace: &Workspace) -> Vec<Step> {
    let transport = [FRAME, &["--package", "ipc-transport"], FEATURES].concat();
    let ledger = ["--package", "ipc-worker", "--lib", "--", "ledger::"];
    vec![step(workspace, "miri", &transport), step(workspace, "miri ledger", &ledger)]
}

/// Returns a step for a big-endian machine, and ipc-frame alone.
pub(crate) fn big_endian(workspace: &Workspace) -> Step {
    let target: &[&str] = &["--target", "s390x-unknown-linux-gnu"];
    step(workspace, "miri s390x", &[FRAME, target, FEATURES].concat())
}

fn step(workspace: &Workspace, name: &'static str, args: &[&str]) -> Step {
    if !tools::has_nightly(workspace, None) {
        return Step::skip(name, "miri (install with: rustup toolchain install nightly)");
    }
    if !tools::has_nightly(workspace, Some("miri")) {
        let why = "miri (install with: rustup component add --toolchain nightly miri rust-src)";
        return Step::skip(name, why);
    }
    let mut miri = tools::nightly(workspace, &["miri", "test", "--locked"]);
    miri.args(args);
    // The golden vectors are read from a file.
    miri.env("MIRIFLAGS", "-Zmiri-disable-isolation");
    Step::command(name, miri)
}
