//! What of `logd` does no I/O: what holds for any datagram, and what becomes of those that clients
//! send; the queue that they wait in. The code of the daemon is part of this program, which shows that it needs no `std`.

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

mod any;
mod clients;
mod inverse;
mod times;
mod waiting;
