//! What of `logd` does no I/O: what holds for any datagram, what becomes of those that clients send,
//! and the queue that they wait in. The code of the daemon is part of this program, which shows that
//! it needs no `std`.

#![no_std]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

extern crate std;

#[path = "../../../ipc-worker/examples/logd/date.rs"]
mod date;
#[path = "../../../ipc-worker/examples/logd/intake.rs"]
mod intake;
#[path = "../../../ipc-worker/examples/logd/line.rs"]
mod line;
#[path = "../../../ipc-worker/examples/logd/message.rs"]
mod message;
#[path = "../../../ipc-worker/examples/logd/quiet.rs"]
mod quiet;

// They call the kernel; that they compile shows that they need no `std` either.
#[expect(dead_code, reason = "only compiled here")]
#[path = "../../../ipc-worker/examples/logd/attributes.rs"]
mod attributes;
#[expect(dead_code, reason = "only compiled here")]
#[path = "../../../ipc-worker/examples/logd/log.rs"]
mod log;
#[expect(dead_code, reason = "only compiled here")]
#[path = "../../../ipc-worker/examples/logd/older.rs"]
mod older;
#[expect(dead_code, reason = "only compiled here")]
#[path = "../../../ipc-worker/examples/logd/policy.rs"]
mod policy;

mod any;
mod clients;
mod inverse;
mod times;
mod waiting;
