//! Starting other programs: what they are given, what they are rid of, and what is told of a start
//! that fails.

#![expect(
    unsafe_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and calls what the library has no use for"
)]

mod programs;
mod started;

use programs::*;

ipc_tests::cases! {
    a_program_has_its_arguments_and_the_environment_that_is_given,
    without_a_list_the_environment_is_inherited,
    descriptors_lie_at_their_numbers_and_no_other_is_open,
    numbers_may_overlap,
    an_open_file_is_a_program_whatever_becomes_of_its_path,
    a_program_that_is_missing_or_not_executable_is_a_reason,
    too_much_is_refused_before_anything_starts,
    signals_have_their_default_action_and_none_is_blocked,
    a_program_may_begin_with_all_signals_blocked,
}
