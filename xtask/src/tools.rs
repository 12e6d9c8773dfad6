//! Which tools are installed. Steps whose tool is missing are skipped, and the output says so.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::workspace::Workspace;

const OLDEST_RUST: &str = "1.87";

/// Returns the output of a command; `None` if it is missing or fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the name of the oldest supported Rust toolchain, if it is installed.
pub(crate) fn oldest_rust(workspace: &Workspace) -> Option<String> {
    let list = output(&mut workspace.command("rustup", &["toolchain", "list"]))?;
    oldest_toolchain(&list).map(str::to_owned)
}

/// Returns a command for nightly's cargo, which runs in the root.
pub(crate) fn nightly(workspace: &Workspace, args: &[&str]) -> Command {
    let mut command = workspace.command("rustup", &["run", "nightly", "cargo"]);
    command.args(args);
    command
}

/// Returns whether nightly's cargo is installed, and has the verb if one is given.
pub(crate) fn has_nightly(workspace: &Workspace, verb: Option<&str>) -> bool {
    let mut command = nightly(workspace, &[]);
    command.args(verb).arg("--version");
    output(&mut command).is_some()
}

/// Returns whether the standard library for a target is installed.
pub(crate) fn has_target(workspace: &Workspace, target: &str) -> bool {
    output(&mut workspace.command("rustc", &["--print", "sysroot"]))
        .is_some_and(|root| Path::new(root.trim()).join("lib/rustlib").join(target).is_dir())
}

/// Returns whether nightly has the sources of the standard library.
pub(crate) fn has_sources(workspace: &Workspace) -> bool {
    let sysroot = ["run", "nightly", "rustc", "--print", "sysroot"];
    output(&mut workspace.command("rustup", &sysroot))
        .is_some_and(|root| Path::new(root.trim()).join("lib/rustlib/src/rust/library").is_dir())
}

/// Finds the oldest supported Rust in rustup's list: `1.87-…` or `1.87.0-…`.
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
