//! The project's folder, and commands that run in it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use crate::failure::Failure;

/// The checked-out workspace.
pub(crate) struct Workspace {
    root: PathBuf,
    cargo: OsString,
}

impl Workspace {
    /// Finds the workspace of this program, from the environment variables that cargo sets.
    pub(crate) fn find() -> Result<Self, Failure> {
        let root = env::var_os("CARGO_MANIFEST_DIR")
            .and_then(|package| Path::new(&package).parent().map(Path::to_owned))
            .ok_or_else(|| Failure::Failed("run this as `cargo xtask`".into()))?;
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Ok(Self { root, cargo })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns a command for the program, which runs in the root.
    pub(crate) fn command(&self, program: impl Into<OsString>, args: &[&str]) -> Command {
        let mut command = Command::new(program.into());
        command.args(args).current_dir(&self.root);
        command
    }

    /// Returns a command for cargo, which runs in the root.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        self.command(&self.cargo, args)
    }
}
