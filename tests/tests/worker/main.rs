//! The worker with two real processes: outcomes, deaths, restarts, the end.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod blocks;
mod calls;
mod deaths;
mod first;
mod flushes;
mod given_back;
mod handler;
mod inherited;
mod large;
mod late;
mod limits;
mod moments;
mod notes;
mod one_ways;
mod records;
mod rings;
mod starts;
mod stops;
mod supervised;

use blocks::*;
use calls::*;
use deaths::*;
use first::*;
use flushes::*;
use given_back::*;
use inherited::*;
use large::*;
use late::*;
use limits::*;
use moments::*;
use notes::*;
use one_ways::*;
use records::*;
use rings::*;
use starts::*;
use stops::*;
use supervised::*;

ipc_tests::cases! { main, 4 at once =
    blocking_call_gets_its_reply,
    handler_runs_in_another_process,
    replies_come_in_request_order,
    descriptors_reach_the_handler_and_come_back,
    as_many_descriptors_as_a_message_carries,
    as_many_descriptors_come_back_as_a_message_carries,
    a_handler_adds_only_descriptors_that_the_call_allows,
    requests_are_made_from_the_arms_of_events,
    notes_come_before_the_answer_with_and_without_their_request,
    what_is_not_taken_comes_back_with_its_reason,
    repro_a_reply_that_boasts_of_its_length_is_a_refusal,
    repro_a_call_that_waits_for_room_keeps_its_own_deadline,
    try_call_duplicates_nothing_where_no_descriptor_is_left,
    death_is_an_event_and_the_next_worker_answers,
    a_panic_in_the_handler_ends_the_worker_and_never_reaches_mains_frames,
    a_deadline_ends_a_request_that_runs_and_one_that_waits,
    a_cancelled_request_that_waits_never_begins,
    what_begins_as_often_as_it_may_is_set_aside,
    what_was_done_without_its_answer_is_repeated_only_until_answered,
    giving_up_ends_every_request,
    a_lost_request_brings_its_bytes_and_descriptors_back,
    what_stop_loses_is_given_back_too,
    an_io_uring_is_unsendable_and_harms_no_other_request,
    a_worker_that_refuses_descriptors_makes_them_unsendable,
    a_reply_with_descriptors_that_nobody_allowed_ends_the_worker,
    repro_a_large_worker_needs_no_stack,
    killed_at_any_moment_each_request_has_one_outcome,
    a_hundred_restarts_leave_nothing_behind,
    a_closed_connection_is_seen_at_once_also_after_a_restart,
    the_child_keeps_only_its_own_descriptors,
    with_standard_streams_closed_nothing_lands_there,
    repro_a_stale_number_never_means_another_file,
    numbers_that_stay_taken_leave_the_worker_its_share_of_descriptors,
    where_numbers_cannot_be_kept_the_descriptors_are_closed,
    repro_mains_handlers_do_not_run_between_fork_and_set_up,
    repro_a_signal_between_fork_and_set_up_does_not_end_the_start,
    repro_a_worker_blocks_no_signal_and_ignores_those_that_are_for_main,
    a_number_that_is_dropped_in_the_worker_closes_no_other_file,
    a_worker_of_a_main_with_precedence_is_an_ordinary_process,
    a_failing_set_up_arrives_with_stage_and_number,
    too_many_descriptors_are_a_failure_of_that_stage,
    a_hostile_first_frame_is_an_error_and_no_process_is_left,
    a_child_that_dies_or_hangs_amid_its_first_frame_is_told_as_that,
    a_restart_that_fails_is_told_with_its_reason,
    a_start_that_hangs_is_killed_at_its_deadline,
    a_second_thread_is_a_clear_refusal,
    stop_delivers_every_outcome,
    stop_kills_at_the_deadline_and_tells_what_is_lost,
    a_worker_whose_main_is_killed_finishes_and_exits,
    a_stopped_worker_never_blocks_main,
    signals_to_the_group_do_not_end_the_worker,
    dropping_a_worker_ends_its_process,
    a_worker_that_breaks_the_protocol_is_replaced,
    repro_a_panic_in_line_lets_nothing_run_twice,
    inline_gives_the_same_outcomes_in_one_process,
    a_batch_that_is_not_settled_is_lost_as_done,
    what_was_taken_back_begins_in_no_later_worker_either,
    repro_the_room_of_one_given_up_half_sent_is_told_of,
    a_late_reply_and_its_descriptors_are_dropped_and_counted,
    a_handler_that_asks_sees_that_it_is_given_up,
    what_was_given_up_while_it_ran_is_not_lost_again,
    one_ways_keep_their_order_and_cost_no_answer,
    one_ways_that_had_not_begun_go_to_the_next_worker_in_order,
    one_ways_that_come_to_nothing_are_counted,
    a_one_way_begins_anew_up_to_the_limit_if_that_is_allowed,
    room_that_one_ways_took_wakes_main_when_it_comes_back,
    stop_waits_for_one_ways_and_counts_those_that_it_loses,
    one_ways_alone_are_settled_and_carry_descriptors,
    one_ways_in_line_are_run_in_order_and_counted,
    waiting_to_be_taken_gives_earlier_outcomes_meanwhile,
    waiting_to_be_taken_ends_at_the_deadline,
    repro_a_reply_that_cannot_be_passed_is_a_refusal_in_its_place,
    repro_a_slow_request_holds_no_finished_reply,
    what_its_handler_calls_slow_holds_no_finished_reply,
    repro_a_thread_that_lives_for_a_while_delays_a_restart_only,
    repro_what_is_queued_uses_up_no_descriptor_of_a_restart,
    repro_a_forked_copy_of_the_worker_that_is_dropped_ends_no_worker,
    repro_a_shortage_of_memory_in_main_ends_no_worker,
    a_shortage_that_lasts_ends_the_worker,
    repro_an_interruption_without_end_holds_no_turn,
    repro_descriptors_that_nobody_asked_for_cannot_be_sent,
    repro_a_trickle_hides_no_death_from_a_blocking_call,
    a_flush_sends_what_is_finished_and_leaves_the_reply,
    a_flush_that_cannot_be_settled_ends_the_worker,
    a_flush_in_line_sends_nothing_and_harms_nothing,
    progress_of_a_long_request_arrives_while_it_runs,
    a_worker_that_notes_without_end_is_not_held_while_main_looks_away,
    every_note_is_told_in_order_or_counted_and_every_request_answered,
    bytes_are_bounded_too_and_what_is_too_long_is_dropped,
    notes_of_a_worker_that_dies_come_first_and_the_next_has_its_credit_anew,
    forged_notes_are_harmless,
    notes_in_line_come_before_the_outcome,
    threads_that_note_without_end_hold_no_request_and_cut_into_no_frame,
    last_words_of_a_panic_hook_come_before_the_death,
    a_note_is_sent_by_a_worker_that_is_ready_and_by_no_other_process,
    records_of_the_log_crate_are_notes_with_level_target_and_text,
    a_worker_that_logs_as_fast_as_it_can_answers_every_request,
    a_handler_that_stops_when_it_is_asked_to_keeps_its_worker,
    one_that_does_not_stop_is_killed_and_the_next_requests_go_on,
    a_call_may_have_a_shorter_limit,
    repro_the_limit_of_a_request_behind_one_without_holds,
    repro_a_handler_that_holds_answers_back_is_asked_to_stop,
    repro_a_handler_that_notes_without_end_is_killed_all_the_same,
    a_cancelled_request_that_runs_on_is_ended_for_the_next,
    repro_a_request_behind_one_that_was_given_up_has_its_time_anew,
    repro_a_handler_that_was_given_up_has_its_time_limit_all_the_same,
    repro_a_handler_that_was_given_up_is_killed_without_further_calls,
    repro_a_stop_waits_no_longer_than_the_limit_of_what_was_given_up,
    a_main_that_looks_away_for_a_while_kills_nobody,
    kill_ends_the_worker_and_waits_for_nothing,
    a_worker_that_was_given_up_is_revived,
    repro_a_worker_in_line_is_revived_with_an_event,
    repro_only_what_a_new_worker_gets_again_counts_as_resent,
    what_is_called_upon_a_start_goes_before_what_is_sent_again,
    repro_what_is_called_first_and_never_again_reaches_no_later_worker,
    what_is_called_first_needs_a_slot_that_nothing_resent_uses,
    repro_what_is_called_before_a_failed_start_is_not_taken_for_the_first,
    a_worker_that_cannot_be_killed_does_not_delay_the_next,
    a_worker_goes_over_the_ring_if_that_is_asked_for,
    where_main_may_not_use_futex_all_stays_on_the_socket,
    a_worker_that_takes_futex_from_itself_still_answers,
    a_pool_goes_over_rings,
    the_descriptor_shows_what_comes_after_a_call_that_waited,
    a_block_carries_bytes_to_the_handler_and_back,
    a_file_is_written_from_a_block_and_read_into_it,
    what_no_block_holds_is_not_taken,
    a_block_is_its_handlers_until_that_has_returned,
    repro_a_block_that_comes_back_without_an_event_is_not_waited_for_in_vain,
    repro_a_lost_requests_block_waits_for_the_killed_process,
    repro_a_handler_that_was_given_up_with_the_last_block_has_a_time_limit,
    the_blocks_of_a_dead_worker_come_back,
    what_is_sent_again_has_its_block_as_the_dead_worker_left_it,
    a_lost_request_brings_its_block_back,
    one_ways_have_blocks_too,
    blocks_in_line_are_lent_too,
}
