//! Walks over all system calls of one scenario. At each call main or a worker is killed, or the
//! call fails. Afterwards every request must have the outcome that fits what really happened, and
//! nothing may be left behind.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod crash;
mod errno;
mod errors;
mod lanes;
mod record;
mod scenario;
mod tracer;
mod verdict;

use std::process::ExitCode;

use crash::*;
use errno::*;
use scenario::{Forked, Program, serve_if_asked};

fn main() -> ExitCode {
    serve_if_asked();
    cases()
}

ipc_tests::cases! { cases, 4 at once =
    fork: Forked, exec: Program => {
        unharmed_it_is_played_to_its_end,
        the_worker_is_killed_before_each_call,
        the_worker_is_killed_after_each_call,
        main_is_killed_before_each_call,
        main_is_killed_after_each_call,
        repro_a_program_whose_main_has_died_is_no_second_main,
        each_call_of_main_fails_once,
        each_call_of_main_fails_from_then_on,
        each_call_of_the_worker_fails_once,
        each_call_of_the_worker_fails_from_then_on,
    }
}
