//! The example programs, as users get them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Builds a package's example with all features, so that the current source is tested, and returns
/// the program's path.
pub fn build(package: &str, name: &str) -> PathBuf {
    run_cargo(name, &["--package", package, "--all-features", "--example", name])
}

/// Builds tinylogd, a separate workspace, as it is installed.
pub fn build_tinylogd() -> PathBuf {
    let folder = ["--manifest-path", "tests/tinylogd/Cargo.toml"];
    run_cargo("tinylogd", &[&folder[..], &["--release", "--bin", "tinylogd"]].concat())
}

fn run_cargo(name: &str, arguments: &[&str]) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--locked", "--message-format", "json"])
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{name} failed to build");
    let messages = String::from_utf8(output.stdout).expect("cargo writes JSON");
    let path = messages
        .lines()
        .filter_map(|line| line.split_once(r#""executable":""#))
        .filter_map(|(_, rest)| rest.split('"').next())
        .find(|path| path.ends_with(name))
        .expect("cargo names the program");
    path.into()
}
