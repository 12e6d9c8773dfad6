//! What of `logd` does no I/O: what holds for any datagram, what becomes of those that clients send,
//! and the queue that they wait in. All that the daemon has in common with one without a C library is
//! part of this program, which shows that it needs no `std`.

#![no_std]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

// Not by its name, so that nothing that names it compiles.
extern crate std as hosted;

#[expect(dead_code, reason = "what calls the kernel is only compiled here")]
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
