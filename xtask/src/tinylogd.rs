//! Builds and runs the programs of `tests/tinylogd`, a separate workspace. They have no C library.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    failure::Failure,
    process,
    steps::{self, Step},
    tools,
    workspace::Workspace,
};

const TIME: Duration = Duration::from_secs(60);

/// The small programs beside the daemon: each exits with 0, or with a status that says what failed.
pub(crate) const EXAMPLES: [&str; 3] = ["barrier", "worker", "exec"];

const HOST: &str = "x86_64-unknown-linux-gnu";

/// A machine with start code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    X86_64,
    Aarch64,
    Arm,
    Riscv64,
}

impl Machine {
    pub(crate) const ALL: [Self; 4] = [Self::X86_64, Self::Aarch64, Self::Arm, Self::Riscv64];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Arm => "armv7",
            Self::Riscv64 => "riscv64",
        }
    }

    /// Its targets, the best first. Without a C library they do not differ.
    const fn targets(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["x86_64-unknown-linux-musl", HOST],
            Self::Aarch64 => &["aarch64-unknown-linux-musl", "aarch64-unknown-linux-gnu"],
            Self::Arm => &["armv7-unknown-linux-musleabihf", "armv7-unknown-linux-gnueabihf"],
            Self::Riscv64 => &["riscv64gc-unknown-linux-musl", "riscv64gc-unknown-linux-gnu"],
        }
    }

    /// Returns the target that is installed, or how to install one.
    pub(crate) fn target(self, workspace: &Workspace) -> Result<&'static str, String> {
        let installed = |target: &&&str| tools::has_target(workspace, target);
        self.targets().iter().find(installed).copied().ok_or_else(|| {
            let [.., target] = self.targets() else { return String::new() };
            format!("{} (install with: rustup target add {target})", self.name())
        })
    }
}

/// How to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Symbols {
    Kept,
    Stripped,
}

/// Returns a command of cargo on the workspace of these programs.
pub(crate) fn cargo(workspace: &Workspace, args: &[&str]) -> Command {
    let mut command = workspace.cargo(args);
    command.args(["--manifest-path", "tests/tinylogd/Cargo.toml"]);
    command
}

/// Builds all programs for a target, for other machines with Rust's linker, and returns their
/// folder.
pub(crate) fn build(
    workspace: &Workspace,
    target: &str,
    symbols: Symbols,
) -> Result<PathBuf, Failure> {
    let folder = match symbols {
        Symbols::Stripped => "tests/tinylogd/target",
        // A separate folder, since cargo would otherwise rebuild each time.
        Symbols::Kept => "tests/tinylogd/target/symbols",
    };
    let mut build = cargo(workspace, &["build", "--release", "--locked", "--bins", "--examples"]);
    build.args(["--target", target, "--target-dir", folder]);
    if symbols == Symbols::Kept {
        build.args(["--config", "profile.release.strip=false"]);
        build.args(["--config", "profile.release.debug='line-tables-only'"]);
    }
    // The linker of this machine also links the build script.
    if target != HOST {
        let variable = format!("CARGO_TARGET_{}", target.to_uppercase().replace('-', "_"));
        build.env(format!("{variable}_LINKER"), "rust-lld");
        build.env(
            format!("{variable}_RUSTFLAGS"),
            "-Clink-self-contained=no -Crelocation-model=static",
        );
    }
    steps::run_command(&mut build)?;
    Ok(workspace.root().join(folder).join(target).join("release"))
}

/// Returns the steps that build and run the programs, and test the daemon.
pub(crate) fn steps(workspace: &Workspace) -> Vec<Step> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return vec![Step::skip("tests/tinylogd", "tests/tinylogd (x86_64 Linux only)")];
    }
    let mut test = workspace.cargo(&["test", "--locked", "-p", "ipc-tests", "--test", "logd"]);
    test.env("IPC_TESTS_LOGD", "tinylogd");
    vec![Step::call("tests/tinylogd", build_and_run), Step::command("test tinylogd", test)]
}

fn build_and_run(workspace: &Workspace) -> Result<(), Failure> {
    let mut build = cargo(workspace, &["build", "--release", "--locked", "--bins", "--examples"]);
    build.args(["--target-dir", "tests/tinylogd/target"]);
    steps::run_command(&mut build)?;
    let programs = workspace.root().join("tests/tinylogd/target/release/examples");
    EXAMPLES.iter().try_for_each(|name| run(&programs.join(name)))
}

fn run(program: &Path) -> Result<(), Failure> {
    println!("$ {}", program.display());
    let name = program.display().to_string();
    let mut child = Command::new(program)
        .stdin(Stdio::null())
        .spawn()
        .map_err(Failure::of(&format!("start {name}")))?;
    let ended = process::wait_until(&mut child, Instant::now() + TIME)
        .map_err(Failure::of(&format!("wait for {name}")))?;
    match ended {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(Failure::Failed(format!("{name} ended with {status}"))),
        None => {
            child.kill().map_err(Failure::of(&format!("kill {name}")))?;
            Err(Failure::Failed(format!("{name} still ran after {} s", TIME.as_secs())))
        }
    }
}
