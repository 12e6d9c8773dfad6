//! The smallest program with a barrier: static, without a C library. It forks, meets its child at
//! the barrier and reaps it.
//!
//! It exits with 0, or with the number of the step that failed.

#![no_std]
#![no_main]

#[path = "../src/start.rs"]
mod start;

use core::time::Duration;

use ipc_barrier::{Barrier, Ended, Fork, exit, fork_raw};
use ipc_transport::Instant;

/// The time limit for the whole program.
const LIMIT: Duration = Duration::from_secs(20);

/// The step that failed; the exit status is its number.
#[derive(Clone, Copy)]
enum Failed {
    Barrier = 1,
    Fork,
    Meet,
    Reap,
}

fn main(_arguments: start::Strings, _environment: start::Strings) -> i32 {
    meet(Instant::now() + LIMIT).map_or_else(|failed| failed as i32, |()| 0)
}

/// Forks, meets the child at a barrier and reaps it.
#[expect(unsafe_code, reason = "the raw fork")]
fn meet(deadline: Instant) -> Result<(), Failed> {
    let barrier = Barrier::new().map_err(|_| Failed::Barrier)?;
    // SAFETY: this program has no C library and one thread.
    let mut child = match unsafe { fork_raw() }.map_err(|_| Failed::Fork)? {
        Fork::Child(_guard) => {
            let met = barrier.into_child().place_and_sync_until(deadline);
            exit(met.map_or(Failed::Meet as i32, |()| 0));
        }
        Fork::Parent(child) => child,
    };
    barrier.into_parent().place_and_sync_until(deadline).map_err(|_| Failed::Meet)?;
    match child.wait_until(deadline) {
        Some(Ended::Exited(0)) => Ok(()),
        _ => Err(Failed::Reap),
    }
}
