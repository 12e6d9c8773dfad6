//! `cargo check` of the crates for machines on which no tests run.

use crate::{steps::Step, tools, workspace::Workspace};

const ALL: &[&str] = &["-p=ipc-frame", "-p=ipc-transport", "-p=ipc-barrier", "-p=ipc-worker"];
/// The crates that build without sockets. On some machines the library for system calls needs
/// nightly, and the transport does not support those where socket calls have other numbers.
const PURE: &[&str] = &["-p=ipc-frame", "-p=ipc-transport"];

/// Machines for which only `core` is built: the target, the packages and the step's name.
const CORE: &[(&str, &[&str], &str)] = &[
    ("armv5te-unknown-linux-musleabi", ALL, "check armv5te"),
    ("i686-unknown-linux-musl", ALL, "check i686"),
    ("loongarch64-unknown-linux-musl", ALL, "check loongarch64"),
    ("s390x-unknown-linux-gnu", ALL, "check s390x"),
    ("powerpc-unknown-linux-gnu", PURE, "check powerpc"),
    ("mips-unknown-linux-musl", PURE, "check mips"),
    ("riscv32gc-unknown-linux-gnu", PURE, "check riscv32"),
];

/// Returns a step for each machine, or says why it cannot run here.
pub(super) fn steps(workspace: &Workspace) -> Vec<Step> {
    let has_sources = tools::has_sources(workspace);
    let step = |&(target, packages, name): &(&str, &[&str], &'static str)| {
        if !has_sources {
            let why = format!(
                "the check for {target} (install with: rustup toolchain install nightly \
                 --component rust-src)"
            );
            return Step::skip(name, why);
        }
        let mut check = tools::nightly(workspace, &["check", "--locked", "--no-default-features"]);
        check.args(["-Zbuild-std=core", "--target", target]).args(packages);
        Step::command(name, check)
    };
    CORE.iter().map(step).collect()
}
