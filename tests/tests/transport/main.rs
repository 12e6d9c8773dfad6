//! Descriptors reach their own frames in all circumstances; and cases for single transports.
//! `tests/laws` has the contract that all transports keep.

#![expect(
    unsafe_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and closes standard streams"
)]

mod arrivals;
mod connection;
mod ends;
mod handing;
mod inbox;
mod limits;
mod outbox;
mod shortage;
mod waits;

use connection::*;
use ends::*;
use handing::*;
use inbox::*;
use limits::*;
use outbox::*;
use shortage::*;
use waits::*;

ipc_tests::cases! {
    a_loopback_takes_as_many_bytes_as_fit,
    repro_empty_pieces_hide_none_that_come_after,
    more_pieces_than_one_call_takes_go_out_in_order,
    descriptors_reach_their_frames_in_batches,
    short_writes_and_full_sockets_keep_frames_and_descriptors,
    a_socket_that_is_full_keeps_frames_and_descriptors,
    more_descriptors_than_announced_are_a_loss_and_closed,
    no_descriptor_goes_to_a_neighbour_of_its_frame,
    descriptors_of_the_next_frame_do_not_stand_in_for_lost_ones,
    a_descriptor_sequence_out_of_step_is_an_error,
    every_socket_is_closed_on_exec_and_lies_above_the_standard_streams,
    sending_to_a_dead_peer_is_closed_and_raises_no_signal,
    closing_the_sending_direction_leaves_the_other,
    a_blocking_receive_ends_at_its_time_out,
    repro_a_storm_of_signals_prolongs_no_blocking_receive,
    repro_a_filter_that_interrupts_for_ever_ends_at_the_deadline,
    a_blocking_receive_without_time_out_waits_through_signals,
    a_blocking_send_waits_for_room,
    repro_blocking_calls_wait_whatever_the_mode_of_the_description,
    frames_that_wait_keep_further_descriptors_in_the_socket,
    repro_descriptors_without_room_are_closed_and_go_to_no_other_frame,
    repro_a_reply_with_too_many_descriptors_does_not_stop_the_outbox,
    an_outbox_gives_back_what_it_has_no_room_for,
    frames_go_out_again_with_their_descriptors_until_they_are_retired,
    an_inbox_closes_what_it_holds,
    a_wait_lasts_until_its_deadline_and_sees_what_is_ready,
    spinning_changes_no_answer,
    nobody_spins_with_one_cpu,
    too_many_descriptors_in_flight_keep_the_frame_until_receivers_catch_up,
    repro_a_receiver_holds_no_more_than_it_has_room_for,
    repro_exactly_the_room_is_filled,
    repro_options_that_add_control_messages_are_switched_off,
    repro_pidfds_that_nobody_asked_for_are_closed,
    urgent_bytes_hold_nothing,
    repro_frames_of_more_than_253_descriptors_are_refused_alike,
    repro_a_frame_without_its_descriptor_takes_no_other_frames,
    two_frames_that_claim_the_same_descriptors_end_the_stream,
    repro_take_frames_is_not_would_block,
    packets_longer_than_the_inbox_arrive_whole_before_a_wait,
    repro_descriptors_put_in_by_hand_shift_no_later_ones,
    plain_transports_carry_the_same_frames,
    fds_are_a_bounded_view,
    repro_a_transport_that_takes_nothing_is_not_asked_for_ever,
    a_frame_with_descriptors_does_not_go_without_them,
    a_frame_handed_over_is_sent_and_its_descriptors_are_gone,
    a_frame_withdrawn_keeps_its_descriptors_for_its_caller,
    repro_an_old_number_names_no_later_frame,
    a_room_that_is_dropped_or_leaked_leaves_no_descriptor,
    a_receiver_that_refuses_descriptors_is_told_from_one_that_is_gone,
    two_programs_exchange_typed_frames_and_a_descriptor,
    a_killed_peer_is_closed_after_what_it_had_sent,
    a_peer_killed_during_a_wait_ends_the_wait,
    a_silent_peer_is_told_at_the_deadline_and_may_go_on,
    another_version_or_service_is_told_on_both_sides,
    descriptors_come_only_where_they_are_allowed,
    a_flood_is_taken_frame_by_frame_and_fills_nothing,
    a_peer_that_does_not_receive_holds_a_sender_until_its_deadline,
    half_a_frame_and_silence_end_at_the_deadline,
    a_frame_longer_than_agreed_ends_the_connection,
    a_refused_descriptor_costs_its_own_frame_only,
    a_sender_without_descriptors_left_queues_nothing,
    an_event_loop_serves_several_programs,
    harmless_faults_change_no_frame_of_a_connection,
    repro_two_sides_with_too_many_descriptors_in_flight_still_receive,
    repro_a_frame_is_sent_once_however_long_the_shortage_lasts,
    repro_an_error_about_an_earlier_frame_leaves_none_queued,
}
