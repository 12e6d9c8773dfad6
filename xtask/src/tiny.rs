//! Builds and runs the programs of `tests/tiny`, static and without a C library, in a separate
//! workspace.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    failure::Failure,
    process,
    steps::{self, Step},
    workspace::Workspace,
};

const TIME: Duration = Duration::from_secs(60);
/// The most bytes that the stripped program may have.
const SIZE_LIMIT: u64 = 51_250;

/// Returns the step that builds and runs the program.
pub(crate) fn step() -> Step {
    if cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        Step::call("tests/tiny", build_and_run)
    } else {
        Step::skip("tests/tiny", "tests/tiny (x86_64 Linux only)")
    }
}

/// Returns a command of cargo on the program's workspace.
pub(crate) fn cargo(workspace: &Workspace, args: &[&str]) -> Command {
    let mut command = workspace.cargo(args);
    command.args(["--manifest-path", "tests/tiny/Cargo.toml"]);
    command
}

fn build_and_run(workspace: &Workspace) -> Result<(), Failure> {
    let mut build = cargo(workspace, &["build", "--release", "--locked"]);
    build.args(["--config", "profile.release.strip=true", "--target-dir", "tests/tiny/target"]);
    steps::run_command(&mut build)?;

    let programs = workspace.root().join("tests/tiny/target/release");
    run(&programs.join("tiny-exec"))?;
    let program = programs.join("tiny");
    let file = fs::metadata(&program).map_err(Failure::of("find the program just built"))?;
    run(&program)?;
    check_size(file.len())
}

fn check_size(size: u64) -> Result<(), Failure> {
    let said = format!("tests/tiny has {size} bytes stripped, of at most {SIZE_LIMIT}");
    match size.checked_sub(SIZE_LIMIT) {
        None | Some(0) => println!("{said}"),
        Some(over) => return Err(Failure::Failed(format!("{said}: {over} too many"))),
    }
    Ok(())
}

fn run(program: &Path) -> Result<(), Failure> {
    println!("$ {}", program.display());
    let mut child = Command::new(program)
        .stdin(Stdio::null())
        .spawn()
        .map_err(Failure::of("start tests/tiny"))?;
    let ended = process::wait_until(&mut child, Instant::now() + TIME)
        .map_err(Failure::of("wait for tests/tiny"))?;
    match ended {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(Failure::Failed(format!("tests/tiny ended with {status}"))),
        None => {
            child.kill().map_err(Failure::of("kill tests/tiny"))?;
            Err(Failure::Failed(format!("tests/tiny still ran after {} s", TIME.as_secs())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_over_the_limit_says_by_how_much() {
        assert!(check_size(SIZE_LIMIT).is_ok());
        let said = check_size(SIZE_LIMIT + 320).unwrap_err().to_string();
        assert_eq!(
            said,
            format!(
                "tests/tiny has {} bytes stripped, of at most {SIZE_LIMIT}: 320 too many",
                SIZE_LIMIT + 320
            )
        );
    }
}
