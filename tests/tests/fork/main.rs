//! fork, the guard of the child, and the child's life and death, also in a sandbox that refuses
//! newer system calls.

#![expect(
    unsafe_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and calls what the library has no use for"
)]

mod closing;
mod guard;
mod life;
mod sandbox;
mod signals;
mod threads;

use closing::*;
use guard::*;
use life::*;
use sandbox::*;
use signals::*;
use threads::*;

ipc_tests::cases! {
    a_child_that_returns_by_question_mark_exits_101_and_drops_nothing_of_the_parent,
    a_child_that_panics_exits_101_and_drops_nothing_of_the_parent,
    a_child_that_comes_to_the_end_of_its_arm_exits_101,
    a_child_that_nobody_asks_for_exits_101,
    a_disarmed_guard_lets_the_child_go_on_as_a_program_of_its_own,
    exit_runs_no_exit_handlers,
    a_second_thread_is_refused_with_their_count,
    fork_raw_gives_the_same_two_sides,
    a_child_exits_with_its_status,
    a_child_is_ended_by_its_signal,
    a_system_call_that_a_filter_forbids_is_told_as_such,
    kill_ends_a_child_and_leaves_one_that_has_ended,
    repro_a_dead_child_that_a_tracer_keeps_is_waited_for_without_spinning,
    repro_a_sandbox_that_refuses_waitid_does_not_end_a_child,
    a_traced_child_that_stops_has_not_ended_where_waitid_is_refused,
    repro_where_every_wait_is_refused_a_child_runs_until_it_ends,
    repro_a_number_that_another_process_has_by_now_is_not_the_childs,
    a_stopped_child_has_not_ended,
    wait_until_runs_out_at_its_deadline_and_may_be_waited_on_again,
    a_status_taken_by_another_wait_is_unknown,
    wait_without_a_deadline_ends_with_the_child,
    listed_signals_are_ignored_and_handlers_are_gone,
    repro_the_c_librarys_own_signals_are_left_alone,
    what_is_no_signal_is_refused,
    many_children_leave_no_descriptor_and_no_zombie,
    where_a_sandbox_refuses_the_newer_calls_everything_works,
    where_an_old_kernel_lacks_the_newer_calls_everything_works,
    where_unshare_is_refused_threads_are_still_counted,
    where_proc_cannot_be_read_either_the_threads_are_unknown,
    every_descriptor_but_the_listed_is_closed,
    with_nothing_listed_only_the_standard_streams_stay,
    without_close_range_the_same_are_closed,
    a_detached_descriptor_keeps_its_number_and_nothing_else,
    repro_where_a_sandbox_refuses_prlimit_the_others_are_detached_all_the_same,
    where_unshare_is_refused_one_thread_forks,
    where_unshare_answers_einval_by_mistake_it_is_asked_again,
    where_unshare_always_answers_einval_threads_are_counted,
    without_proc_unshare_alone_decides,
    repro_the_kernels_own_threads_of_an_io_uring_are_no_second_thread,
}
