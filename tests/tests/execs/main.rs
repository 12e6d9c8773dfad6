//! Workers by exec: this program, started again as a worker.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(dead_code, reason = "only cases that work for any launch are run")]

#[path = "../worker/blocks.rs"]
mod blocks;
#[path = "../worker/calls.rs"]
mod calls;
#[path = "../worker/deaths.rs"]
mod deaths;
#[path = "../worker/given_back.rs"]
mod given_back;
mod handler;
#[path = "../worker/late.rs"]
mod late;
#[path = "../worker/moments.rs"]
mod moments;
#[path = "../worker/one_ways.rs"]
mod one_ways;
mod program;
mod starts;
#[path = "../worker/stops.rs"]
mod stops;
mod surroundings;

use std::process::ExitCode;

use blocks::*;
use calls::*;
use deaths::*;
use given_back::*;
use late::*;
use moments::*;
use one_ways::*;
use starts::*;
use stops::*;
use surroundings::*;

fn main() -> ExitCode {
    program::serve_if_asked();
    cases()
}

ipc_tests::cases! { cases =
    blocking_call_gets_its_reply,
    handler_runs_in_another_process,
    replies_come_in_request_order,
    descriptors_reach_the_handler_and_come_back,
    as_many_descriptors_as_a_message_carries,
    as_many_descriptors_come_back_as_a_message_carries,
    requests_are_made_from_the_arms_of_events,
    notes_come_before_the_answer_with_and_without_their_request,
    a_deadline_ends_a_request_that_runs_and_one_that_waits,
    a_cancelled_request_that_waits_never_begins,
    death_is_an_event_and_the_next_worker_answers,
    what_begins_as_often_as_it_may_is_set_aside,
    killed_at_any_moment_each_request_has_one_outcome,
    a_lost_request_brings_its_bytes_and_descriptors_back,
    what_stop_loses_is_given_back_too,
    what_was_taken_back_begins_in_no_later_worker_either,
    a_handler_that_asks_sees_that_it_is_given_up,
    one_ways_keep_their_order_and_cost_no_answer,
    one_ways_that_had_not_begun_go_to_the_next_worker_in_order,
    repro_what_is_queued_uses_up_no_descriptor_of_a_restart,
    stop_delivers_every_outcome,
    stop_kills_at_the_deadline_and_tells_what_is_lost,
    a_worker_that_cannot_be_made_says_why,
    a_panic_before_it_is_ready_is_told_with_its_status,
    another_size_or_service_names_both_sides,
    repro_a_worker_that_does_not_serve_starts_no_further_one,
    repro_a_worker_has_the_name_of_its_program,
    a_program_that_is_missing_or_does_not_serve_is_told_as_that,
    by_hand_it_says_what_it_is,
    what_a_worker_starts_itself_is_no_worker,
    without_memfd_the_error_says_so,
    repro_a_limit_of_file_size_is_an_error_of_a_start_and_of_a_restart,
    where_a_sandbox_refuses_prlimit_a_worker_starts,
    repro_a_worker_starts_again_where_proc_is_gone,
    an_upgrade_on_disk_mixes_no_versions,
    upgraded_while_it_runs,
    nothing_is_inherited_but_the_stream,
    a_number_of_mains_that_is_not_close_on_exec_names_no_file,
    an_ordinary_process_whatever_main_is,
    repro_a_worker_in_another_pid_namespace_serves,
    repro_a_worker_that_does_not_serve_in_another_pid_namespace_starts_no_other,
    repro_a_worker_behind_a_script_in_another_pid_namespace_serves,
    what_a_worker_starts_itself_is_no_worker_in_another_pid_namespace,
    with_standard_streams_closed_it_starts_and_restarts,
    with_threads_and_under_kills_every_request_has_one_outcome,
    a_block_carries_bytes_to_the_handler_and_back,
    a_file_is_written_from_a_block_and_read_into_it,
    what_no_block_holds_is_not_taken,
    a_block_is_its_handlers_until_that_has_returned,
    repro_a_block_that_comes_back_without_an_event_is_not_waited_for_in_vain,
    the_blocks_of_a_dead_worker_come_back,
    what_is_sent_again_has_its_block_as_the_dead_worker_left_it,
    a_lost_request_brings_its_block_back,
    one_ways_have_blocks_too,
}
