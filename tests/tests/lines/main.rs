//! The parts of `logd` that do no I/O: laws for any datagram, the lines of real clients' messages,
//! and the queue in which messages wait. This program includes everything that the daemon shares
//! with the one without a C library, and so shows that it needs no `std`.

#![no_std]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

// Renamed, so that code which names `std` does not compile.
extern crate std as hosted;

#[expect(dead_code, reason = "code that calls the kernel is only compiled here")]
#[path = "../../../ipc-worker/examples/logd"]
mod logd {
    pub(crate) mod common;
    pub(crate) mod program;
}

mod any;
mod clients;
mod inverse;
mod kernel;
mod times;
mod waiting;

use logd::{common, program};
