//! The size of the smallest program with each contender.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::contender::Entrant;
use crate::peers::ALL;
use crate::results::Size;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

/// Builds and runs the programs. Returns the sizes, and the reasons of failures.
pub(crate) fn measure() -> (Vec<Size>, Vec<String>) {
    let (mut sizes, mut failures) = (Vec::new(), Vec::new());
    for entrant in ALL.iter().filter(|entrant| !is_the_same(entrant)) {
        match size(entrant.name) {
            Ok(bytes) => {
                println!("  {:<26} {bytes:>10}", entrant.name);
                sizes.push(Size { name: entrant.name.into(), bytes });
            }
            Err(why) => failures.push(format!("size of {}: {why}", entrant.name)),
        }
    }
    (sizes, failures)
}

/// A spinning contender has the same program as a sleeping one.
fn is_the_same(entrant: &Entrant) -> bool {
    entrant.how.starts_with("the same")
}

fn size(name: &str) -> Result<u64, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--locked", "--profile", "small", "--bin", "minimal"]);
    build.current_dir(FOLDER).env("IPC_PEERS_ONLY", name).stdin(Stdio::null());
    // The program then ends up in a known place.
    build.env_remove("CARGO_TARGET_DIR");
    succeeds(&mut build, "cargo build")?;
    let program = Path::new(FOLDER).join("target/small/minimal");
    succeeds(Command::new("timeout").arg("10").arg(&program), "the program")?;
    let metadata = std::fs::metadata(&program).map_err(|error| error.to_string())?;
    Ok(metadata.len())
}

fn succeeds(command: &mut Command, what: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what} failed: {status}")),
        Err(error) => Err(format!("cannot run {what}: {error}")),
    }
}
