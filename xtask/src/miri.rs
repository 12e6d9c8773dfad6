//! `cargo xtask miri`: the tests of code without an operating system, in an interpreter that sees
//! undefined behaviour.

use crate::{
    failure::Failure,
    steps::{self, Step},
    tools,
    workspace::Workspace,
};

const HELP: &str = "\
Runs the tests of ipc-frame, with all features, and of ipc-transport without sockets in miri.
Needs nightly Rust with its components miri and rust-src; says that it skipped where they are
missing.

Usage: cargo xtask miri

Options:
  -h, --help    print this help";

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    steps::verb(args, HELP, |workspace| vec![step(workspace)])
}

/// Returns the step that runs the tests, or says why it cannot run here.
pub(crate) fn step(workspace: &Workspace) -> Step {
    const NAME: &str = "miri";
    if !tools::has_nightly(workspace, None) {
        return Step::skip(NAME, "miri (install with: rustup toolchain install nightly)");
    }
    if !tools::has_nightly(workspace, Some("miri")) {
        let why = "miri (install with: rustup component add --toolchain nightly miri rust-src)";
        return Step::skip(NAME, why);
    }
    let test = ["miri", "test", "--locked", "--package", "ipc-frame", "--package", "ipc-transport"];
    let features = ["--no-default-features", "--features", "ipc-frame/std,ipc-frame/postcard"];
    let mut miri = tools::nightly(workspace, &test);
    miri.args(features);
    // The golden vectors are read from a file.
    miri.env("MIRIFLAGS", "-Zmiri-disable-isolation");
    Step::command(NAME, miri)
}
