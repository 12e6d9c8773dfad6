//! The barrier between two real processes: the laws that every lane must pass, one by one, and what
//! each lane promises beyond them.

#![expect(
    unsafe_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and breaks descriptors on purpose"
)]

mod aborts;
mod broken;
mod deadlines;
mod descriptors;
mod ends;
mod full;
mod hostile;
mod model;
mod peer;
mod pidfds;
mod races;
mod rings;
mod waits;
mod watch;
mod words;

use aborts::*;
use broken::*;
use deadlines::*;
use descriptors::*;
use ends::*;
use full::*;
use hostile::*;
use ipc_barrier::{Eventfd, Page};
use model::*;
use pidfds::*;
use races::*;
use rings::*;
use waits::*;
use watch::*;

ipc_tests::cases! {
    eventfd: Eventfd, page: Page => {
        sync_is_met_once_every_token_is_answered,
        a_peer_that_is_ahead_has_answered_beforehand,
        sync_with_nothing_unanswered_makes_no_wait_and_takes_no_look,
        sync_next_waits_for_one_answer,
        two_tokens_in_one_drain_meet_one_wait_next,
        wait_next_is_not_met_by_places_of_its_own_side,
        an_abort_supersedes_tokens_that_are_unread,
        tokens_drained_before_an_abort_still_count,
        an_abort_of_ones_own_ends_every_wait_but_the_one_for_the_peers,
        wait_abort_swallows_tokens_and_tells_how_the_peer_ended,
        an_exit_queues_behind_the_tokens,
        every_answer_is_that_of_the_written_rules,
        no_token_is_lost_to_an_exit_that_follows_at_once,
        no_token_is_lost_to_a_drop_that_follows_at_once,
        no_wake_up_is_lost_in_many_rounds,
        dropping_an_end_is_gone_for_the_other_side,
        an_exec_is_gone_though_the_process_lives_on,
        a_third_process_that_drops_its_copy_has_no_effect,
        a_reason_reaches_the_other_side_both_ways,
        both_sides_may_fail_and_each_reads_the_others_reason,
        a_reason_after_an_abort_changes_nothing,
        signals_fail_nothing_and_prolong_nothing,
        a_child_that_dies_before_it_took_its_role_is_noticed,
        a_parent_that_dies_before_it_took_its_role_is_noticed,
        a_side_that_waits_before_the_other_took_its_role_is_served,
        a_grandchild_that_holds_all_descriptors_hides_no_death_from_a_pidfd,
        tokens_before_a_death_that_a_pidfd_shows_are_counted,
        a_broken_pidfd_is_an_abort_of_both_sides,
        an_until_form_runs_out_at_its_deadline_and_may_be_waited_on_again,
        try_forms_never_wait,
        a_peer_that_places_without_end_holds_no_wait_past_its_deadline,
        repro_a_look_takes_a_bounded_number_of_drains,
        the_watched_descriptor_is_readable_on_token_abort_and_death,
        the_first_post_is_shown_before_any_look_and_any_arm,
        a_wait_that_ran_out_leaves_the_next_post_shown,
        no_order_of_place_look_arm_and_wait_loses_a_wake_up,
        an_event_loop_misses_no_token_of_a_peer_that_runs_freely,
        with_standard_streams_closed_no_descriptor_lands_there,
        every_descriptor_is_closed_on_exec,
        repro_an_end_keeps_its_pidfd_where_only_its_descriptors_are_kept,
        many_barriers_leave_no_descriptor_and_no_memory,
        a_barrier_that_cannot_be_opened_leaves_nothing_open,
        a_peer_that_misuses_every_descriptor_holds_no_call,
        a_peer_that_steals_what_wakes_holds_no_call,
        a_wait_after_many_rings_sleeps,
        a_child_of_libcs_fork_is_watched,
        a_child_of_clone3_is_watched,
        a_child_watches_its_parent,
        a_process_that_is_not_watched_any_more_shows_nothing,
        a_barrier_lists_its_descriptors,
        placing_and_waiting_tell_which_of_the_two_failed,
        what_is_known_of_the_peer_is_told_without_a_look,
        repro_rings_that_are_not_read_are_few,
        a_wait_opens_no_descriptor,
        repro_a_side_that_breaks_tells_its_peer,
        repro_dropping_an_end_that_is_broken_ends_no_program,
        repro_dropping_an_end_closes_no_file_that_is_not_its_own,
        repro_a_wait_that_the_system_refuses_is_no_abort,
        repro_a_child_that_fails_without_a_word_is_told_of,
    }

    eventfd: Eventfd => {
        broken_counters_are_an_abort_of_both_sides,
        a_counter_that_is_full_takes_no_token_and_does_not_block,
    }
    page: Page => {
        broken_bells_are_an_abort_of_both_sides,
        repro_a_full_word_is_no_timeout_and_loses_no_token,
        a_peer_that_scribbles_over_every_shared_word_holds_no_call,
        a_peer_that_rings_without_tokens_holds_no_call,
        a_full_bell_in_the_waiting_mode_holds_no_place,
        where_reading_without_waiting_is_refused_the_laws_hold,
        repro_where_a_filter_interrupts_for_ever_no_call_is_held,
    }
}
