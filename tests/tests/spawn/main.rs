//! Starting other programs: what they receive, what they do not inherit, and how a failed start is
//! reported.

#![expect(
    unsafe_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and calls what the library has no use for"
)]

mod programs;
mod started;
mod steps;
mod surroundings;

use programs::*;
use steps::*;
use surroundings::*;

ipc_tests::cases! {
    a_program_has_its_arguments_and_the_environment_that_is_given,
    without_a_list_the_environment_is_inherited,
    descriptors_lie_at_their_numbers_and_no_other_is_open,
    numbers_may_overlap,
    an_open_file_is_a_program_whatever_becomes_of_its_path,
    repro_an_open_file_is_a_program_where_proc_is_missing,
    repro_nothing_else_is_open_where_proc_is_missing,
    a_program_that_is_missing_or_not_executable_is_a_reason,
    too_much_is_refused_before_anything_starts,
    signals_have_their_default_action_and_none_is_blocked,
    a_program_may_begin_with_all_signals_blocked,
    a_program_leads_a_session_or_a_group,
    a_process_that_leads_a_session_cannot_lead_another,
    limits_are_soft_and_hard_and_at_most_sixteen,
    a_limit_that_forbids_the_exec_is_a_reason,
    a_new_root_and_directory_are_what_the_program_sees,
    ids_are_real_effective_saved_and_all_groups,
    ids_that_cannot_be_taken_are_a_reason,
    ids_that_a_sandbox_only_pretends_to_set_are_refused,
    no_new_privs_and_the_death_signal_are_set,
    a_program_ends_with_its_parent,
    a_filter_is_the_last_and_forbids_what_it_says,
    a_filter_that_forbids_the_exec_is_told,
    a_ruleset_restricts_the_program,
    apply_sets_this_process_up_and_keeps_its_descriptors,
    rights_are_given_up_after_all_that_needs_them,
    a_child_that_hangs_is_killed_at_the_deadline,
    beside_threads_that_allocate_and_start_programs_too,
    where_standard_streams_are_closed_the_program_has_them_all_the_same,
    in_a_sandbox_without_the_newer_calls_everything_works,
    repro_a_program_starts_where_proc_is_that_of_another_pid_namespace,
    a_start_that_lacks_a_descriptor_says_so_and_leaves_none,
    many_starts_leave_neither_descriptor_nor_zombie,
}
