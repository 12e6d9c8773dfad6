//! `cargo check` of the crates for machines whose programs are not run here.

use crate::{steps::Step, tools, workspace::Workspace};

const ALL: &[&str] = &["-p=ipc-frame", "-p=ipc-transport", "-p=ipc-barrier", "-p=ipc-worker"];
/// The crate that makes no system calls itself. The library that makes them for the others needs
/// nightly on some machines, and where socket calls have other numbers the transport refuses.
const PURE: &[&str] = &["-p=ipc-frame", "-p=ipc-transport"];

/// Machines for which only the library `core` is needed, and built: its target, which packages, and
/// the step's name.
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
