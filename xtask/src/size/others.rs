//! The daemons to compare, and how to get each of them.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    failure::Failure,
    steps,
    tinylogd::{self, Machine, Symbols},
    tools,
    workspace::Workspace,
};

use super::file::Sizes;
use super::memory::{self, Daemon, Memory, Resident};

pub(super) const MUSL: &str = "x86_64-unknown-linux-musl";

/// A log daemon, for x86_64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Tinylogd,
    /// The same with a C library's start, memory functions and fork.
    WithMusl,
    /// logd, built for size.
    WithStd,
    Busybox,
}

/// The measurements, or what is missing.
type Measured = Result<(Sizes, Resident), String>;

impl Program {
    pub(super) const ALL: [Self; 4] =
        [Self::Tinylogd, Self::WithMusl, Self::WithStd, Self::Busybox];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tinylogd => "tinylogd",
            Self::WithMusl => "tinylogd with musl",
            Self::WithStd => "logd with std and musl",
            Self::Busybox => "busybox syslogd (all applets)",
        }
    }

    pub(super) fn measure(self, workspace: &Workspace) -> Result<Measured, Failure> {
        if matches!(self, Self::WithMusl | Self::WithStd) && !tools::has_target(workspace, MUSL) {
            return Ok(Err(format!("{} (install with: rustup target add {MUSL})", self.name())));
        }
        let program = match self {
            Self::Tinylogd => {
                let target = Machine::X86_64.target(workspace).map_err(Failure::Failed)?;
                tinylogd::build(workspace, target, Symbols::Stripped)?.join("tinylogd")
            }
            Self::WithMusl => with_musl(workspace)?,
            Self::WithStd => with_std(workspace)?,
            Self::Busybox => return busybox(workspace),
        };
        Ok(Ok((Sizes::of(&program)?, memory::of_daemon(&program)?)))
    }
}

fn with_musl(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let mut build = tinylogd::cargo(workspace, &["build", "--release", "--locked"]);
    build.args(["--bin", "tinylogd", "--features", "musl", "--target", MUSL]);
    build.args(["--target-dir", "tests/tinylogd/target/musl"]);
    build.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld");
    steps::run_command(&mut build)?;
    let folder = workspace.root().join("tests/tinylogd/target/musl").join(MUSL);
    Ok(folder.join("release/tinylogd"))
}

/// With the same profile as tinylogd.
fn with_std(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let mut build = workspace.cargo(&["build", "--release", "--locked", "--target", MUSL]);
    build.args(["--package", "ipc-worker", "--example", "logd", "--features", "postcard"]);
    for setting in ["opt-level='z'", "lto=true", "codegen-units=1", "panic='abort'", "strip=true"] {
        build.args(["--config", &format!("profile.release.{setting}")]);
    }
    build.args(["--target-dir", "target/size"]);
    steps::run_command(&mut build)?;
    Ok(workspace.root().join("target/size").join(MUSL).join("release/examples/logd"))
}

/// Busybox's syslogd can only use /dev/log, so it gets a private /dev.
fn busybox(workspace: &Workspace) -> Result<Measured, Failure> {
    const MISSING: &str = "busybox syslogd (install with: apt-get install busybox-static)";
    let applets = tools::output(&mut workspace.command("busybox", &["--list"]));
    if !applets.is_some_and(|list| list.lines().any(|applet| applet == "syslogd")) {
        return Ok(Err(MISSING.into()));
    }
    if !rustix::process::geteuid().is_root() {
        return Ok(Err("busybox syslogd (run as root: it needs a private /dev)".into()));
    }
    let which = tools::output(&mut workspace.command("which", &["busybox"])).unwrap_or_default();
    let sizes = Sizes::of(Path::new(which.trim()))?;
    let home = tempfile::tempdir().map_err(Failure::of("make a folder"))?;
    let log = home.path().join("log");
    let script = "mount -t tmpfs none /dev && exec busybox syslogd -n -O \"$0\"";
    let child = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(&log)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(Failure::of("start busybox syslogd"))?;
    let daemon = Daemon(child);
    let pid = daemon.0.id();
    let is_there =
        || fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|it| it.starts_with(b"busybox"));
    memory::until("busybox has started", is_there)?;
    memory::send(&PathBuf::from(format!("/proc/{pid}/root/dev/log")))?;
    memory::await_lines(&log)?;
    let main = Memory::of(pid)?;
    Ok(Ok((sizes, Resident { main, worker: Memory::default() })))
}
