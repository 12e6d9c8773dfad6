//! `cargo xtask package`: the crates as they would be published, and the log daemon as
//! distributions build it, tested away from the project.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    failure::Failure,
    lines::LIMITS,
    packaging,
    steps::{self, Step},
    tools::output,
    vendored,
    workspace::Workspace,
};

const HELP: &str = "\
Packages the four crates with `cargo package`. Then unpacks them into a temporary folder, where they
find each other but nothing else of the project. Checks that each has its README and both licences,
builds each, and runs its tests with all features. This is skipped with cargo before 1.90, which
cannot package a workspace.

Compares the files of docs/packaging with the package that they build. Then builds and installs
tests/tinylogd from a copy of the sources and dependencies, locked and offline, as Buildroot does.
Checks that it accepts the arguments in the files, and sends it a message (x86_64 Linux only).

Downloads missing dependencies first; everything after that is offline.

Usage: cargo xtask package

Options:
  -h, --help    print this help

Exit codes: 0 no step failed, 1 a step failed, 2 wrong arguments";

/// The crates and xtask share the version of the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The first cargo that can package crates of one workspace that depend on each other: 1.90.
const OLDEST_CARGO: u32 = 90;
const BUILT: &str = "target/packages";
const FILES: [&str; 3] = ["README.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    steps::verb(args, HELP, steps)
}

/// Returns the steps of the verb.
pub(crate) fn steps(workspace: &Workspace) -> Vec<Step> {
    let mut steps = vec![step(workspace)];
    steps.extend(packaging::steps(workspace));
    steps.push(vendored::step(workspace));
    steps
}

/// Returns the step that packages and tests the crates, or says why it cannot run here.
fn step(workspace: &Workspace) -> Step {
    const NAME: &str = "package";
    let version = output(&mut workspace.cargo(&["--version"]));
    if version.as_deref().and_then(minor).is_some_and(|minor| minor >= OLDEST_CARGO) {
        return Step::call(NAME, package);
    }
    Step::skip(NAME, "packages: needs cargo 1.90 (install with: rustup toolchain install stable)")
}

/// Returns the 90 of `cargo 1.90.0 (…)`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("cargo 1.")?.split('.').next()?.parse().ok()
}

fn package(workspace: &Workspace) -> Result<(), Failure> {
    let host = output(&mut workspace.command("rustc", &["--print", "host-tuple"]));
    let mut fetch = workspace.cargo(&["fetch", "--locked"]);
    if let Some(host) = host {
        fetch.args(["--target", host.trim()]);
    }
    steps::run_command(&mut fetch)?;

    // cargo does not verify the packages, since it would use copies of the other crates that it
    // kept from an earlier run (in its home, by path and version). All crates are built and tested
    // below.
    let mut package = workspace.cargo(&["package", "--offline", "--locked", "--allow-dirty"]);
    package.args(["--no-verify", "--target-dir", BUILT]);
    package.args(LIMITS.iter().flat_map(|(name, _)| ["--package", *name]));
    steps::run_command(&mut package)?;

    let place = Place::new(workspace)?;
    let mut failures = Vec::new();
    for (name, _) in LIMITS {
        if let Err(failure) = place.test(name) {
            failures.push(failure.to_string());
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::Failed(failures.join("\n"))) }
}

/// A temporary workspace of the unpacked crates; it is removed at the end.
struct Place<'a> {
    workspace: &'a Workspace,
    folder: TempDir,
}

impl<'a> Place<'a> {
    fn new(workspace: &'a Workspace) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("ipc-packages-").tempdir();
        let folder = folder.map_err(Failure::of("make a temporary folder"))?;
        for (name, _) in LIMITS {
            unpack(&package_file(workspace, name), folder.path())?;
        }
        let write = Failure::of("write the temporary workspace");
        fs::write(folder.path().join("Cargo.toml"), manifest())
            // Use the versions that the project itself is tested with.
            .and_then(|()| {
                fs::copy(workspace.root().join("Cargo.lock"), folder.path().join("Cargo.lock"))
            })
            .map_err(write)?;
        Ok(Self { workspace, folder })
    }

    /// Checks the files of a package, and runs its tests.
    fn test(&self, name: &str) -> Result<(), Failure> {
        let package = self.folder.path().join(unpacked(name));
        if let Some(missing) = FILES.iter().find(|file| !package.join(file).is_file()) {
            return Err(Failure::Failed(format!("the package of {name} has no {missing}")));
        }
        let mut test = self.workspace.cargo(&["test", "--offline", "--all-features"]);
        test.args(["--no-fail-fast", "--package", name]).current_dir(self.folder.path());
        test.env("CARGO_TARGET_DIR", self.workspace.root().join(BUILT));
        steps::run_command(&mut test)
    }
}

fn unpack(file: &Path, folder: &Path) -> Result<(), Failure> {
    let mut tar = Command::new("tar");
    // Do not restore the times in the package. They are all the same, so cargo would not see a
    // change.
    tar.arg("-xmzf").arg(file).arg("-C").arg(folder);
    steps::run_command(&mut tar)
}

fn package_file(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.root().join(BUILT).join("package").join(format!("{}.crate", unpacked(name)))
}

/// Returns the name of the folder inside a package.
fn unpacked(name: &str) -> String {
    format!("{name}-{VERSION}")
}

/// Returns the manifest of a workspace in which the packages use each other, not the registry.
fn manifest() -> String {
    let members = LIMITS.map(|(name, _)| format!("{:?}", unpacked(name))).join(", ");
    let patches = LIMITS.map(|(name, _)| format!("{name} = {{ path = {:?} }}\n", unpacked(name)));
    let patches = patches.concat();
    format!("[workspace]\nresolver = \"3\"\nmembers = [{members}]\n\n[patch.crates-io]\n{patches}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_of_cargo_is_read() {
        assert_eq!(minor("cargo 1.90.0 (840b83a10 2025-07-30)\n"), Some(90));
        assert_eq!(minor("cargo 1.100.0-nightly\n"), Some(100));
        assert_eq!(minor("cargo 2.0.0\n"), None);
    }

    #[test]
    fn packages_find_each_other_in_the_manifest() {
        let manifest = manifest();
        assert!(manifest.contains(&format!("[\"ipc-frame-{VERSION}\", \"ipc-transport-")));
        assert!(
            manifest.contains(&format!("ipc-worker = {{ path = \"ipc-worker-{VERSION}\" }}\n"))
        );
    }
}
