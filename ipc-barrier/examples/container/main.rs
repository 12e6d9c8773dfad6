//! container: starts a program in new namespaces. Parent and child meet after each of five stages,
//! and report at which stage a start failed.
//!
//! ```text
//!   parent                      stage           child
//!   fork ────────────────────── 1 fork ──────── its end of the barrier
//!                               2 namespaces ── setsid, unshare
//!   /proc/PID/uid_map ───────── 3 uid map
//!                               4 set-up ────── host name, mounts, directory, privileges
//!                               5 exec ──────── the program, which may meet the parent too
//! ```

mod child;
mod options;
mod program;
mod side;
mod signals;
mod supervisor;

use std::process::ExitCode;

use crate::options::{Asked, HELP};
use crate::side::FAILED;

fn main() -> ExitCode {
    let status = match options::parse(std::env::args_os()) {
        Ok(Asked::Help) => {
            print!("{HELP}");
            0
        }
        Ok(Asked::Start(options)) => supervisor::run(&options),
        Ok(Asked::Inside(options, handed)) => program::run(&options, &handed),
        Err(error) => {
            eprintln!("container: {error}\nTry 'container --help'.");
            FAILED
        }
    };
    ExitCode::from(status)
}
