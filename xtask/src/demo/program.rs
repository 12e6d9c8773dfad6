//! Builds the daemon and finds its file.

use std::{
    path::PathBuf,
    process::{Output, Stdio},
};

use serde_json::Value;

use crate::{failure::Failure, workspace::Workspace};

/// Builds logd in release mode and returns its path.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf, Failure> {
    println!("$ cargo build --release --locked -p ipc-worker -F postcard --example logd");
    let mut command = workspace.cargo(&["build", "--release", "--locked", "--message-format"]);
    command.args(["json-render-diagnostics", "-p", "ipc-worker", "-F", "postcard"]);
    command.args(["--example", "logd"]);
    let Output { status, stdout, .. } =
        command.stderr(Stdio::inherit()).output().map_err(Failure::of("run cargo"))?;
    if !status.success() {
        return Err(Failure::Failed("logd does not build; the compiler's output is above".into()));
    }
    String::from_utf8_lossy(&stdout)
        .lines()
        .find_map(executable)
        .ok_or_else(|| Failure::Failed("cargo does not report the path of logd".into()))
}

/// Returns the path if this message from cargo announces the finished daemon.
fn executable(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_logd = message.pointer("/target/name")? == "logd";
    let path = message.get("executable").filter(|_| is_logd)?.as_str()?;
    Some(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_is_that_of_logd() {
        let logd = r#"{"target":{"name":"logd"},"executable":"/target/release/examples/logd"}"#;
        assert_eq!(executable(logd), Some("/target/release/examples/logd".into()));
        for other in [
            r#"{"target":{"name":"ipc_worker"},"executable":null}"#,
            r#"{"target":{"name":"other"},"executable":"/other"}"#,
            r#"{"reason":"build-finished","success":true}"#,
            "no json",
        ] {
            assert_eq!(executable(other), None);
        }
    }
}
