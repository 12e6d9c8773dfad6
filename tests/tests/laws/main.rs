//! The laws of the transports' contract, run over every transport, and cases for single transports.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod ahead;
mod faults;
mod frugal;
mod growth;
mod hostile;
mod losses;
mod modes;
mod packets;
mod pairs;
mod right;
mod rings;
mod strays;
mod wrong;

use std::process::ExitCode;

use ipc_tests::cases::{Case, run};
use ipc_tests::counting::Counting;
use ipc_transport::laws;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A law of the crate over a pair of ends. Its calls must not allocate memory, and must leave no
/// descriptor open.
macro_rules! laws_of {
    ($list:ident, $pair:ident, $($law:ident)*) => {
        $($list.push(Case {
            name: concat!(stringify!($pair), "::", stringify!($law)),
            run: || frugal::leaves_nothing(|| laws::$law(|| frugal::both(pairs::$pair()))),
        });)*
    };
}

/// The cases of these tests, in addition to the crate's laws.
macro_rules! cases_of {
    ($list:ident, $pair:ident, $theme:ident: $($law:ident),* $(,)?) => {
        $($list.push(Case {
            name: concat!(stringify!($pair), "::", stringify!($law)),
            run: || $theme::$law(pairs::$pair),
        });)*
    };
}

/// Cases for all transports.
macro_rules! bytes {
    ($list:ident, $pair:ident) => {
        ipc_transport::laws_of_bytes!([laws_of] $list, $pair,);
    };
}

/// Cases about frames. Too slow for transports that need a call for each byte.
macro_rules! cuts {
    ($list:ident, $pair:ident) => {
        ipc_transport::laws_of_cuts!([laws_of] $list, $pair,);
    };
}

/// Cases for transports that carry descriptors.
macro_rules! descriptors {
    ($list:ident, $pair:ident) => {
        ipc_transport::laws_of_fds!([laws_of] $list, $pair,);
    };
}

/// Cases for transports within one machine.
macro_rules! local {
    ($list:ident, $pair:ident) => {
        laws_of!($list, $pair, what_the_dead_left_unread_costs_no_last_words);
    };
}

/// Cases for transports whose receiver can run out of descriptors.
macro_rules! losses {
    ($list:ident, $pair:ident) => {
        cases_of!($list, $pair, losses: a_thousand_losses_leave_the_stream_in_step);
    };
}

/// Cases for sockets, which can be sent and watched.
macro_rules! sockets {
    ($list:ident, $pair:ident) => {
        $list.push(Case {
            name: concat!(stringify!($pair), "::what_would_be_received_shows"),
            run: || laws::what_would_be_received_shows(pairs::$pair),
        });
        cases_of!($list, $pair, strays: a_peer_that_sends_its_own_end_is_closed_once_that_is);
    };
}

/// Cases for transports between two processes.
macro_rules! processes {
    ($list:ident, $pair:ident) => {
        cases_of!($list, $pair, hostile: a_process_killed_at_each_call_leaves_nothing);
    };
}

/// The same cases for transports that carry descriptors.
macro_rules! processes_with_descriptors {
    ($list:ident, $pair:ident) => {
        cases_of!($list, $pair, strays:
            a_process_killed_with_descriptors_at_each_call_leaves_nothing,
        );
    };
}

/// Cases of a process that serves a transport for a long time. The loopback has a separate case.
macro_rules! growth {
    ($list:ident, $pair:ident) => {
        cases_of!($list, $pair, growth: hostile_peers_leave_no_memory);
    };
}

/// The same cases for transports that carry descriptors.
macro_rules! growth_with_descriptors {
    ($list:ident, $pair:ident) => {
        cases_of!($list, $pair, growth: hostile_peers_with_descriptors_leave_no_memory);
    };
}

/// Cases for a single transport.
macro_rules! own {
    ($list:ident, $theme:ident: $($case:ident),* $(,)?) => {
        $($list.push(Case {
            name: concat!(stringify!($theme), "::", stringify!($case)),
            run: $theme::$case,
        });)*
    };
}

#[expect(clippy::vec_init_then_push, reason = "one line for each transport reads better")]
fn main() -> ExitCode {
    let mut list = Vec::new();
    // These wait longest, so they begin first.
    own!(list, wrong:
        a_short_send_that_counts_one_less_is_caught,
        a_short_send_that_counts_one_more_is_caught,
        a_short_send_with_descriptors_that_counts_one_less_is_caught,
        another_error_before_closed_is_caught,
        another_error_for_senders_before_closed_is_caught,
        bytes_out_of_order_are_caught,
        a_byte_twice_is_caught,
        a_byte_missing_is_caught,
        a_would_block_that_takes_bytes_is_caught,
        a_would_block_that_gives_bytes_is_caught,
        repro_a_receive_that_blocks_is_caught,
        repro_a_send_that_blocks_is_caught,
        a_count_over_the_offer_is_caught,
        an_end_before_the_last_words_is_caught,
        bytes_after_the_end_are_caught,
        a_signal_at_the_end_is_caught,
        a_call_that_a_signal_ends_is_caught,
        another_descriptor_is_caught,
        a_descriptor_missing_is_caught,
        descriptors_with_the_second_byte_are_caught,
        a_truncation_that_is_not_told_is_caught,
        a_descriptor_left_open_on_exec_is_caught,
        bytes_that_do_not_show_are_caught,
    );
    bytes!(list, stream);
    bytes!(list, seqpacket);
    bytes!(list, ring);
    bytes!(list, small_ring);
    bytes!(list, seqpacket_of_small_packets);
    bytes!(list, tiny_ring);
    bytes!(list, loopback);
    bytes!(list, tiny_loopback);
    bytes!(list, pipes);
    bytes!(list, tcp);
    bytes!(list, terminal);
    bytes!(list, terminal_without_waiting);
    bytes!(list, faulty_stream);
    bytes!(list, faulty_seqpacket);
    bytes!(list, faulty_ring);
    bytes!(list, faulty_loopback);
    bytes!(list, faulty_pipes);
    cuts!(list, stream);
    cuts!(list, seqpacket);
    cuts!(list, ring);
    cuts!(list, tiny_ring);
    cuts!(list, loopback);
    cuts!(list, tiny_loopback);
    cuts!(list, pipes);
    cuts!(list, tcp);
    cuts!(list, terminal_without_waiting);
    cuts!(list, faulty_loopback);
    cuts!(list, faulty_pipes);
    local!(list, stream);
    local!(list, seqpacket);
    local!(list, ring);
    local!(list, small_ring);
    local!(list, seqpacket_of_small_packets);
    local!(list, tiny_ring);
    local!(list, loopback);
    local!(list, tiny_loopback);
    local!(list, pipes);
    local!(list, terminal);
    local!(list, terminal_without_waiting);
    local!(list, faulty_stream);
    local!(list, faulty_seqpacket);
    local!(list, faulty_ring);
    local!(list, faulty_loopback);
    local!(list, faulty_pipes);
    descriptors!(list, stream);
    descriptors!(list, seqpacket);
    descriptors!(list, ring);
    descriptors!(list, small_ring);
    descriptors!(list, seqpacket_of_small_packets);
    descriptors!(list, loopback);
    descriptors!(list, small_loopback);
    descriptors!(list, faulty_stream);
    descriptors!(list, faulty_seqpacket);
    descriptors!(list, faulty_ring);
    descriptors!(list, faulty_loopback);
    losses!(list, stream);
    losses!(list, seqpacket);
    losses!(list, ring);
    sockets!(list, stream);
    sockets!(list, seqpacket);
    sockets!(list, ring);
    sockets!(list, seqpacket_of_small_packets);
    processes!(list, stream);
    processes!(list, seqpacket);
    processes!(list, ring);
    processes!(list, small_ring);
    processes!(list, seqpacket_of_small_packets);
    processes!(list, pipes);
    processes!(list, tcp);
    processes!(list, terminal);
    processes!(list, terminal_without_waiting);
    processes!(list, faulty_stream);
    processes!(list, faulty_seqpacket);
    processes!(list, faulty_ring);
    processes!(list, faulty_pipes);
    processes_with_descriptors!(list, stream);
    processes_with_descriptors!(list, seqpacket);
    processes_with_descriptors!(list, ring);
    processes_with_descriptors!(list, small_ring);
    processes_with_descriptors!(list, seqpacket_of_small_packets);
    processes_with_descriptors!(list, faulty_stream);
    processes_with_descriptors!(list, faulty_seqpacket);
    processes_with_descriptors!(list, faulty_ring);
    growth!(list, stream);
    growth!(list, seqpacket);
    growth!(list, ring);
    growth!(list, small_ring);
    growth!(list, seqpacket_of_small_packets);
    growth!(list, pipes);
    growth!(list, tcp);
    growth!(list, terminal);
    growth!(list, terminal_without_waiting);
    growth!(list, faulty_stream);
    growth!(list, faulty_seqpacket);
    growth!(list, faulty_ring);
    growth!(list, faulty_pipes);
    growth_with_descriptors!(list, stream);
    growth_with_descriptors!(list, seqpacket);
    growth_with_descriptors!(list, ring);
    growth_with_descriptors!(list, small_ring);
    growth_with_descriptors!(list, seqpacket_of_small_packets);
    growth_with_descriptors!(list, faulty_stream);
    growth_with_descriptors!(list, faulty_seqpacket);
    growth_with_descriptors!(list, faulty_ring);
    own!(list, growth: hostile_ends_of_a_loopback_leave_no_memory);
    own!(list, strays: descriptors_sent_to_a_byte_pair_are_closed);
    own!(list, packets:
        repro_what_would_be_received_shows,
        repro_who_sends_nothing_but_empty_packets_is_no_peer,
        repro_what_an_ending_peer_answers_is_closed,
        a_packet_that_is_too_long_shows_for_ever,
        empty_packets_are_not_taken_for_the_end,
        repro_empty_packets_are_not_would_block,
        empty_packets_at_the_end_do_not_hide_it,
        a_packet_that_had_to_be_cut_is_an_error_with_its_numbers,
        packets_over_the_buffer_go_in_smaller_ones,
        a_blocking_receive_waits_for_a_packet_and_sees_the_end,
    );
    own!(list, rings:
        cursors_that_cannot_be_break_the_ring,
        lengths_that_cannot_be_break_the_ring,
        socket_bytes_of_no_meaning_break_the_ring_after_what_was_sent,
        descriptors_that_no_bytes_claim_break_the_ring_after_a_while,
        descriptors_that_are_missing_or_of_other_bytes_break_the_ring,
        a_flood_of_bells_costs_wake_ups_only,
        repro_bells_do_not_hold_a_receive_over_its_time,
        a_peer_that_ends_amid_a_chunk_leaves_what_it_had_written,
        a_peer_that_wakes_nobody_is_heard_all_the_same,
        repro_a_bell_that_finds_no_memory_comes_later,
        repro_a_receive_that_waits_rings_where_there_was_no_memory,
        bits_that_tell_of_sleepers_change_no_bytes,
        a_peer_that_moves_and_makes_no_room_breaks_the_ring,
        whatever_a_peer_does_ends_in_bytes_or_an_error,
    );
    own!(list, ahead:
        repro_each_byte_brings_its_own_descriptor_after_bells_that_found_no_memory,
        repro_descriptors_come_after_any_number_of_bells,
        repro_a_socket_full_of_descriptors_shows_when_there_is_room,
        repro_a_socket_full_of_bells_shows_when_there_is_room,
        repro_a_bell_for_room_that_a_receive_takes_calls_for_another_look,
    );
    own!(list, faults:
        lost_descriptors_are_told_and_the_next_frame_is_right,
        a_dropped_connection_ends_after_whole_frames,
    );
    own!(list, modes:
        the_mode_of_a_shared_description_is_never_changed,
        large_offers_to_blocking_descriptors_do_not_wait,
        pipes_do_without_newer_calls,
        pipes_do_with_refused_calls,
        descriptors_lie_above_the_standard_streams,
        what_cannot_be_written_to_is_the_systems_error,
    );
    own!(list, right:
        repro_bytes_that_arrive_at_any_time_break_no_law,
        repro_a_shortage_now_and_then_breaks_no_law,
        repro_laws_in_parallel_stay_below_the_usual_limit,
    );
    run(&list, 4)
}
