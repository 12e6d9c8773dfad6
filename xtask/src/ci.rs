//! `cargo xtask ci`: everything that must hold before a change is taken.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use lexopt::Arg::{Long, Short};

use crate::{
    failure::Failure,
    steps::{self, Step},
    test, tiny,
    workspace::Workspace,
};

const HELP: &str = "\
Checks everything that must hold before a change is taken: format, lints, tests, docs, fewer
features, bare metal, the oldest Rust, licences and spelling. Every step runs, also after one
that failed; what is not installed is skipped, and said to be.

Usage: cargo xtask ci

Options:
  -h, --help    print this help";

const BARE_METAL: &str = "x86_64-unknown-none";
const OLDEST_RUST: &str = "1.87";

/// Runs the verb.
pub(crate) fn run(mut args: lexopt::Parser) -> Result<(), Failure> {
    match args.next()? {
        Some(Long("help") | Short('h')) => {
            println!("{HELP}");
            Ok(())
        }
        Some(other) => Err(other.unexpected().into()),
        None => {
            let workspace = Workspace::find()?;
            steps::run(&workspace, plan(&workspace))
        }
    }
}

fn plan(workspace: &Workspace) -> Vec<Step> {
    let mut steps = lints(workspace);
    steps.extend(test::steps(workspace));
    steps.push(docs(workspace));
    steps.extend(fewer_features(workspace));
    steps.push(bare_metal(workspace));
    steps.push(oldest_rust(workspace));
    steps.push(licences(workspace));
    steps.push(spelling(workspace));
    steps
}

fn lints(workspace: &Workspace) -> Vec<Step> {
    let clippy = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    let mut tiny_clippy = tiny::cargo(workspace, &["clippy", "--locked", "--release"]);
    tiny_clippy.args(["--", "-D", "warnings"]);
    vec![
        Step::command("format", workspace.cargo(&["fmt", "--all", "--check"])),
        Step::command("format tests/tiny", tiny::cargo(workspace, &["fmt", "--check"])),
        Step::command("clippy", workspace.cargo(&clippy)),
        Step::command("clippy tests/tiny", tiny_clippy),
    ]
}

fn docs(workspace: &Workspace) -> Step {
    let mut doc = workspace.cargo(&["doc", "--locked", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    Step::command("docs", doc)
}

/// One command per crate, since features of crates built together are joined.
fn fewer_features(workspace: &Workspace) -> [Step; 2] {
    let check = |package| {
        workspace.cargo(&["check", "--locked", "--no-default-features", "--package", package])
    };
    [
        Step::command("ipc-barrier, no features", check("ipc-barrier")),
        Step::command("ipc-worker, no features", check("ipc-worker")),
    ]
}

fn bare_metal(workspace: &Workspace) -> Step {
    const NAME: &str = "bare metal";
    let installed = output(&mut workspace.command("rustc", &["--print", "sysroot"]))
        .is_some_and(|root| Path::new(root.trim()).join("lib/rustlib").join(BARE_METAL).is_dir());
    if !installed {
        let why = "bare-metal build (install with: rustup target add x86_64-unknown-none)";
        return Step::skip(NAME, why);
    }
    let mut build = workspace.cargo(&["build", "--locked", "--no-default-features"]);
    build.args(["-p", "ipc-frame", "-p", "ipc-transport", "--target", BARE_METAL]);
    Step::command(NAME, build)
}

fn oldest_rust(workspace: &Workspace) -> Step {
    const NAME: &str = "Rust 1.87";
    let list = output(&mut workspace.command("rustup", &["toolchain", "list"]));
    let Some(toolchain) = list.as_deref().and_then(oldest_toolchain) else {
        let why = "Rust 1.87 check (install with: rustup toolchain install 1.87)";
        return Step::skip(NAME, why);
    };
    let check = ["run", toolchain, "cargo", "check", "--locked", "--workspace"];
    Step::command(NAME, workspace.command("rustup", &check))
}

fn licences(workspace: &Workspace) -> Step {
    const NAME: &str = "licences";
    if output(&mut workspace.command("cargo-deny", &["--version"])).is_none() {
        return Step::skip(NAME, "cargo deny (install with: cargo install --locked cargo-deny)");
    }
    Step::command(NAME, workspace.cargo(&["deny", "check"]))
}

fn spelling(workspace: &Workspace) -> Step {
    const NAME: &str = "spelling";
    if output(&mut workspace.command("typos", &["--version"])).is_none() {
        return Step::skip(NAME, "typos (install with: cargo install --locked typos-cli)");
    }
    Step::command(NAME, workspace.command("typos", &[]))
}

/// Returns what the command prints; `None` when it is not there or fails.
fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Finds the oldest Rust that is promised to work in rustup's list: `1.87-…` or `1.87.0-…`.
fn oldest_toolchain(list: &str) -> Option<&str> {
    list.lines().filter_map(|line| line.split_whitespace().next()).find(|name| {
        name.strip_prefix(OLDEST_RUST).is_some_and(|rest| rest.starts_with(['-', '.']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_toolchain_is_found_by_its_version() {
        let list = "stable-x86_64-unknown-linux-gnu (active, default)\n1.870-x86_64\n1.87.0-x86_64";
        assert_eq!(oldest_toolchain(list), Some("1.87.0-x86_64"));
        assert_eq!(oldest_toolchain("1.87-x86_64 (override)\n"), Some("1.87-x86_64"));
        assert_eq!(oldest_toolchain("nightly-x86_64\n"), None);
    }
}
