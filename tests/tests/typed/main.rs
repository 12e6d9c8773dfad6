//! Typed services: the stub in main, the dispatch in the worker, and everything that can go wrong
//! in between.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod calls;
mod declared;
mod identity;
mod service;
mod wrong;

use calls::*;
use declared::*;
use identity::*;
use ipc_tests::counting::Counting;
use wrong::*;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

ipc_tests::cases! {
    arguments_and_results_of_all_kinds_come_back,
    borrowed_arguments_reach_the_worker_and_borrowed_results_main,
    descriptors_reach_the_method_and_come_back,
    a_method_refuses_with_its_own_code,
    in_line_is_the_same,
    the_worker_prepares_and_settles,
    a_deadline_a_cancel_and_a_resend_policy_are_set_as_for_any_call,
    a_function_may_see_its_request,
    arguments_that_do_not_fit_are_not_taken_and_name_their_length,
    a_value_that_cannot_be_written_is_not_taken,
    a_result_that_does_not_fit_or_cannot_be_written_is_a_refusal,
    one_handler_serves_two_services,
    repro_names_and_attributes_of_what_is_made_are_free,
    ten_thousand_typed_requests_allocate_nothing,
    a_method_is_repeated_as_its_declaration_says_unless_the_call_says_otherwise,
    a_method_is_quick_or_slow_as_its_declaration_says,
    a_tuple_with_an_array_is_a_result_without_descriptors,
    equal_declarations_have_one_fingerprint_and_others_another,
    a_worker_that_serves_what_main_expects_starts_and_another_is_named,
    an_unknown_method_is_a_refusal,
    every_cut_of_a_valid_request_is_a_refusal_and_asks_nobody,
    random_bytes_are_a_result_or_a_refusal_and_never_a_panic,
    a_wrong_number_of_descriptors_is_a_refusal_and_asks_nobody,
    a_wrong_reply_is_an_error_of_its_own,
}
