//! Where the project's files are, and which cargo works on them.

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
    /// Finds the workspace of this program: cargo tells it when it runs it.
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

    /// Returns a command of the program, to be run in the root.
    pub(crate) fn command(&self, program: impl Into<OsString>, args: &[&str]) -> Command {
        let mut command = Command::new(program.into());
        command.args(args).current_dir(&self.root);
        command
    }

    /// Returns a command of cargo, to be run in the root.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        self.command(&self.cargo, args)
    }
}
