//! `cargo xtask miri`: the tests of code without an OS in miri, which detects undefined behaviour.

use crate::{
    failure::Failure,
    steps::{self, Step},
    tools,
    workspace::Workspace,
};

const HELP: &str = "\
Runs the tests of ipc-frame, with all features, and of ipc-transport without sockets, those of the
ring's rules among them, in miri, an interpreter that detects undefined behaviour. Needs nightly Rust with the components miri and
rust-src, and is skipped without them.

Usage: cargo xtask miri

Options:
  -h, --help    print this help

Exit codes: 0 no step failed, 1 a step failed, 2 wrong arguments";

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    steps::verb(args, HELP, |workspace| vec![step(workspace)])
}

/// Returns the step that runs the tests, or says why it cannot run here.
pub(crate) fn step(workspace: &Workspace) -> Step {
    step_with(workspace, "miri", &["--package", "ipc-transport"])
}

/// Returns the same step for a big-endian machine, and ipc-frame alone.
pub(crate) fn big_endian(workspace: &Workspace) -> Step {
    step_with(workspace, "miri s390x", &["--target", "s390x-unknown-linux-gnu"])
}

fn step_with(workspace: &Workspace, name: &'static str, args: &[&str]) -> Step {
    if !tools::has_nightly(workspace, None) {
        return Step::skip(name, "miri (install with: rustup toolchain install nightly)");
    }
    if !tools::has_nightly(workspace, Some("miri")) {
        let why = "miri (install with: rustup component add --toolchain nightly miri rust-src)";
        return Step::skip(name, why);
    }
    let features = ["--no-default-features", "--features", "ipc-frame/std,ipc-frame/postcard"];
    let mut miri =
        tools::nightly(workspace, &["miri", "test", "--locked", "--package", "ipc-frame"]);
    miri.args(args).args(features);
    // The golden vectors are read from a file.
    miri.env("MIRIFLAGS", "-Zmiri-disable-isolation");
    Step::command(name, miri)
}
