//! The smallest program with one contender, selected at build time by its name. It starts the peer
//! and does one round. Cargo.toml has a profile for it.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a failure panics")]
#![expect(dead_code, reason = "only one contender is used")]

mod contender;
#[path = "../../benches/speed/cpus.rs"]
mod cpus;
mod echo;
mod message;
mod peers;
mod work;

use std::process::ExitCode;

use crate::contender::{Entrant, Task, Trouble};
use crate::work::Work;

/// Messages are small here: buffers for large ones would be linked, too.
const LARGE: bool = false;

/// A constant, so that the other contenders are not linked.
const ENTRANT: &Entrant = match option_env!("IPC_PEERS_ONLY") {
    Some(name) => named(name),
    None => named("bare stream"),
};

fn main() -> ExitCode {
    // Programs that use these contenders must begin with a call.
    if const { is_same(ENTRANT.name, "procspawn") } {
        peers::init_procspawn();
    }
    if const { is_same(ENTRANT.name, "ipc-worker, exec") } {
        peers::serve_if_asked();
    }
    // The first of these kinds of work that it supports.
    let large = Work::Large { size: 4096, to_main: true };
    let works = [Work::RoundTrip { size: 64 }, Work::Spawn, Work::Meet, large];
    for work in works {
        let started = (ENTRANT.start)(Task { work, cpus: 1, peer_cpu: 0 });
        match started.and_then(|mut contender| contender.round()) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(Trouble::Elsewhere) => {}
            Err(_) => return ExitCode::FAILURE,
        }
    }
    ExitCode::FAILURE
}

/// Finds a contender by name, at compile time.
const fn named(name: &str) -> &'static Entrant {
    let mut index = 0;
    while !is_same(peers::ALL[index].name, name) {
        index += 1;
    }
    &peers::ALL[index]
}

/// Compares names at compile time.
const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}
