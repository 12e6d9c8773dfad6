//! The example daemon, as users get it: a program, a socket, a directory and signals.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod check;
mod daemon;
mod drops;
mod files;
mod full;
mod home;
mod intake;
mod kills;
mod load;
mod marks;
mod odd;
mod others;
mod service;
mod start;
mod stop;
mod text;
mod tracer;
mod words;
mod worker;

use std::process::ExitCode;

use check::{
    a_directory_without_a_log_is_an_error, check_names_each_line_that_is_not_whole,
    check_reads_files_of_any_size_and_kind,
};
use drops::*;
use files::*;
use full::*;
use intake::*;
use kills::*;
use marks::*;
use odd::*;
use others::*;
use service::*;
use start::*;
use stop::*;
use text::*;
use words::*;
use worker::*;

fn main() -> ExitCode {
    // Once, before the cases: each runs in a separate process.
    daemon::build();
    run()
}

ipc_tests::cases! { run, 4 at once =
    both_forms_become_one_line_that_ends_with_the_text_as_sent,
    a_time_of_now_is_written_once,
    what_is_over_long_is_cut_between_characters_and_its_line_says_so,
    the_longest_line_finds_room_in_a_file_and_in_a_request,
    random_datagrams_leave_lines_that_check_calls_whole,
    trusted_names_the_sender_whatever_it_says,
    descriptors_that_clients_send_are_dropped,
    messages_of_the_kernel_are_logged_if_that_is_asked_for,
    check_names_each_line_that_is_not_whole,
    check_reads_files_of_any_size_and_kind,
    a_directory_without_a_log_is_an_error,
    logger_of_util_linux_works,
    mode_is_exactly_the_sockets_permissions,
    wrong_arguments_exit_with_2_and_leave_no_socket,
    help_and_version_exit_with_0,
    repro_help_without_a_reader_is_no_panic,
    a_dir_that_cannot_be_used_is_an_error,
    a_socket_path_that_cannot_be_bound_is_an_error,
    a_stale_socket_is_replaced,
    a_socket_in_use_is_an_error_and_stays_in_use,
    what_is_no_socket_is_an_error_and_stays,
    a_log_that_another_process_writes_is_an_error,
    stats_have_the_documented_form,
    without_stats_nothing_is_printed,
    sigterm_under_load_loses_nothing,
    sigint_under_load_loses_nothing,
    sigterm_under_load_in_line_loses_nothing,
    repro_sigquit_ends_at_once_and_names_what_is_lost,
    sighup_opens_a_new_log,
    a_log_that_cannot_be_reopened_is_said_and_the_old_one_stays,
    rotation_keeps_size_and_order,
    no_more_older_files_stay_than_were_asked_for,
    keep_0_leaves_only_the_log,
    a_line_over_the_limit_has_a_file_of_its_own,
    an_unfinished_last_line_is_cut_at_the_start,
    in_line_the_files_are_the_same,
    repro_a_rotation_that_fails_loses_no_message,
    repro_a_log_that_was_removed_is_no_failed_rotation,
    clients_that_do_not_wait_lose_nothing_in_a_short_stall,
    what_the_intake_cannot_hold_is_dropped_and_counted_in_the_log,
    the_oldest_goes_first_where_that_is_asked_for,
    repro_what_is_dropped_is_counted_through_kills,
    repro_a_worker_that_is_stopped_writes_all_at_the_end,
    a_stop_right_after_the_death_of_a_worker_loses_nothing_unsaid,
    a_storm_of_signals_changes_nothing,
    signals_come_whatever_it_was_started_with,
    what_was_frozen_makes_no_burst_of_ticks,
    without_stats_an_idle_daemon_sleeps,
    readiness_is_told_at_the_descriptor_that_was_given,
    systemd_is_told_of_the_start_and_of_the_stop,
    the_process_number_is_in_a_file_while_it_runs,
    main_and_worker_become_the_user_that_was_named,
    with_closed_streams_its_words_go_into_no_file,
    words_that_nobody_reads_hold_nothing,
    a_terminal_that_nobody_reads_holds_nothing,
    words_that_end_in_its_own_socket_do_not_feed_on_themselves,
    a_killed_worker_loses_only_what_was_running,
    a_worker_killed_amid_long_lines_leaves_only_whole_ones,
    a_stopped_worker_makes_clients_wait_and_loses_nothing,
    a_full_disk_is_waited_for_and_loses_nothing,
    sigterm_on_a_full_disk_waits_for_room,
    repro_a_half_line_that_cannot_be_cut_at_once_is_cut_later,
    a_half_line_of_a_killed_worker_is_cut_by_the_next,
    repro_a_limit_on_the_size_of_files_is_a_reason_to_rotate,
    a_line_over_the_limit_on_files_rotates_nothing,
    drop_new_counts_in_the_log_what_was_dropped,
    drop_oldest_removes_the_oldest_file_and_then_drops,
    a_worker_that_is_killed_while_it_drops_tells_the_next,
    what_was_dropped_and_not_counted_is_said_at_the_end,
    repro_a_worker_that_waits_goes_on_to_another_disk,
    repro_a_disk_without_room_for_a_file_is_a_full_one,
    quota_is_a_full_disk_and_other_trouble_drops_after_a_while,
    repro_a_log_that_was_cut_is_not_full,
    a_log_cut_between_lines_has_whole_ones_only,
    repro_mode_owner_and_list_go_on_at_a_rotation,
    repro_a_log_that_was_removed_or_replaced_is_left_at_once,
    a_log_rotated_by_others_is_not_rotated_again,
    repro_sighup_goes_to_the_directory_that_has_the_path,
    a_directory_that_was_removed_is_waited_for,
    a_directory_that_comes_back_ends_the_dropping,
    repro_what_is_no_regular_file_is_refused_and_stays,
    a_symbolic_link_is_followed_if_asked_for,
    repro_a_file_system_without_locks_is_used_and_said_once,
    repro_unsteady_inode_numbers_lose_nothing,
    a_disk_that_is_read_only_for_a_while_is_waited_for,
    a_worker_killed_amid_a_rotation_loses_only_what_was_running,
    an_append_only_log_grows_on,
    a_restart_that_fails_says_why_each_time_that_changes,
    a_half_line_of_others_is_cut_and_a_whole_one_stays,
    a_failed_sync_ends_the_worker_and_the_next_goes_on,
    in_line_a_failed_sync_ends_the_daemon,
    repro_a_sync_that_fails_at_a_rotation_ends_the_worker_too,
    main_touches_no_disk_after_the_start,
    after_a_workers_death_each_line_is_there_once_or_named,
    after_mains_death_only_intake_and_queue_are_lost_and_the_next_says_so,
    after_the_death_of_both_nothing_is_there_twice_or_in_part,
    repro_a_start_amid_a_rotation_waits,
    a_worker_on_a_full_disk_writes_all_after_mains_death,
    what_has_reached_the_worker_is_written_after_mains_death,
    a_start_after_a_kill_says_so_once,
    another_worker_knows_the_mark_of_its_main,
    an_end_with_something_left_is_no_clean_one,
    a_worker_killed_at_the_end_leaves_no_mark,
    a_second_daemon_leaves_mark_and_process_number_of_the_first,
    the_mark_goes_along_to_another_directory,
    what_is_no_mark_stays_and_stops_nothing,
    repro_an_unclean_end_is_said_on_a_pipe_too,
    repro_a_quick_end_with_nothing_left_is_a_clean_one,
    repro_a_reader_of_the_directory_holds_nothing,
    repro_no_client_can_send_before_the_directory_is_locked,
    repro_an_intake_that_no_system_has_is_a_wrong_argument,
    repro_what_is_no_file_is_no_pid_file_and_stays,
    repro_a_pid_file_of_another_daemon_stays,
    repro_a_descriptor_for_readiness_that_is_closed_is_an_error,
    repro_a_slow_reader_is_told_of_all_that_is_lost,
    repro_what_is_dropped_while_main_is_away_is_counted_once,
    repro_what_was_dropped_is_counted_at_the_end_if_there_is_room,
    repro_an_idle_daemon_without_its_directory_ends_soon,
    repro_a_lock_that_was_removed_is_made_again,
    a_start_on_a_full_disk_says_it_when_there_is_room,
    root_without_capabilities_is_enough,
    root_without_capabilities_cannot_become_another_user,
    root_without_capabilities_may_not_use_what_is_anothers,
    a_directory_that_is_given_away_and_back_loses_nothing,
    a_read_only_root_is_enough,
    without_any_device_it_runs,
    repro_with_closed_streams_and_no_device_its_words_go_into_no_file,
    dev_log_is_made_where_there_is_none,
    without_a_vdso_the_time_is_asked_of_the_kernel,
}
