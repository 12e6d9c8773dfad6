//! The lines of `logd`: what holds for any datagram, and what becomes of those that clients send.
//! The code of the daemon is part of this program, which shows that it needs no `std`.

#![no_std]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

extern crate std;

#[path = "../../../ipc-worker/examples/logd/date.rs"]
mod date;
#[path = "../../../ipc-worker/examples/logd/line.rs"]
mod line;
#[path = "../../../ipc-worker/examples/logd/message.rs"]
mod message;

mod any;
mod clients;
mod inverse;
mod times;
