//! The contract of [`Transport`](crate::Transport) and [`PassFds`](crate::PassFds) as laws. Each
//! law is a function that tests one sentence of the contract over any transport. Feature `laws`.
//!
//! [`laws!`](crate::laws!) generates a test for each law. It needs a function that returns two
//! connected ends:
//!
//! ```test_harness
//! use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
//!
//! use ipc_transport::{Transport, TransportError};
//!
//! /// One end of two channels of bytes.
//! struct End {
//!     outgoing: SyncSender<u8>,
//!     incoming: Receiver<u8>,
//! }
//!
//! fn pair() -> (End, End) {
//!     let ((there, here), (back, home)) = (sync_channel(1000), sync_channel(1000));
//!     (End { outgoing: there, incoming: home }, End { outgoing: back, incoming: here })
//! }
//!
//! impl Transport for End {
//!     fn send(&mut self, pieces: &[&[u8]]) -> Result<Option<usize>, TransportError> {
//!         let mut taken = 0;
//!         for &byte in pieces.iter().copied().flatten() {
//!             match self.outgoing.try_send(byte) {
//!                 Ok(()) => taken += 1,
//!                 Err(TrySendError::Disconnected(_)) if taken == 0 => {
//!                     return Err(TransportError::Closed);
//!                 }
//!                 Err(_) => break,
//!             }
//!         }
//!         Ok((taken > 0).then_some(taken))
//!     }
//!
//!     fn receive(&mut self, space: &mut [u8]) -> Result<Option<usize>, TransportError> {
//!         let mut len = 0;
//!         for place in space {
//!             match self.incoming.try_recv() {
//!                 Ok(byte) => *place = byte,
//!                 Err(TryRecvError::Disconnected) if len == 0 => {
//!                     return Err(TransportError::Closed);
//!                 }
//!                 Err(_) => break,
//!             }
//!             len += 1;
//!         }
//!         Ok((len > 0).then_some(len))
//!     }
//! }
//!
//! #[cfg(test)]
//! mod laws {
//!     ipc_transport::laws!(super::pair: Transport);
//! }
//! ```
//!
//! A law fails by panicking with a message that says what was expected. If bytes never come, it
//! fails after 20 seconds, unless a call of the transport hangs. In most laws the first end sends
//! and dies. If the two ends differ, run the laws a second time with the ends swapped. A transport
//! must have a limit: it fails if it takes 64 MiB without a receiver. The laws of descriptors need a
//! transport that takes 256 bytes in each direction before any is received.
//!
//! Two laws apply to some transports only, and the macro leaves them out. Call
//! [`what_would_be_received_shows`] and [`what_the_dead_left_unread_costs_no_last_words`] in your
//! own tests.
//!
//! Laws can run in parallel with other tests of the same process: they do not count open
//! descriptors, and the signals that they use go to their own thread only. Laws that open hundreds
//! of descriptors wait for each other.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a law fails by panicking"
)]

mod bytes;
mod cuts;
mod descriptors;
mod hostile;
mod probe;
mod readiness;
mod signals;
mod sleeps;
mod strays;
mod tools;

pub use bytes::{
    a_count_is_from_one_to_what_was_offered,
    a_sender_told_of_the_end_still_receives_and_gets_no_signal, a_short_send_takes_what_it_counts,
    after_would_block_anything_else_may_be_offered, bytes_arrive_in_order_none_twice_none_missing,
    no_call_blocks, nothing_offered_is_nothing_taken, signals_are_not_seen,
    the_directions_are_apart, the_last_words_come_before_the_end_and_the_end_is_for_ever,
    what_the_dead_left_unread_costs_no_last_words,
    would_block_takes_nothing_and_leaves_all_as_it_was,
};
pub use cuts::{
    every_pair_of_cuts_decodes_alike, every_pair_of_cuts_gives_the_second_frame_its_descriptors,
};
pub use descriptors::{
    all_go_however_few_bytes_were_taken, descriptors_ride_on_the_first_byte_of_their_call,
    descriptors_under_way_are_closed_with_the_connection,
    from_none_to_253_arrive_in_order_and_closed_on_exec,
    one_call_gives_those_of_one_sending_call_and_no_later_byte, plain_receiving_drops_descriptors,
    what_the_list_cannot_hold_is_closed_and_told, would_block_sends_no_descriptor,
};
pub use hostile::{
    a_peer_that_dies_at_each_call_leaves_all_that_it_sent, forged_lengths_end_in_a_typed_error,
    half_a_frame_and_silence_end_at_a_deadline, random_bytes_end_in_a_typed_error,
};
pub use readiness::what_would_be_received_shows;
pub use strays::{
    a_peer_that_dies_with_descriptors_at_each_call_leaves_nothing,
    descriptors_nobody_asked_for_are_closed, random_bytes_and_descriptors_leave_nothing,
};

/// Building blocks of the laws, for the tests of this project only.
#[doc(hidden)]
pub mod parts {
    pub use crate::laws::probe::{receive, send_with};
    pub use crate::laws::tools::{
        Random, await_end, frame, is_closed, patiently, receive_exactly, send_all, settled,
    };

    /// The acts of a hostile peer on one connection.
    pub mod hostile {
        pub use crate::laws::hostile::{
            dies, forges_a_length, send_parts, sends_half_a_frame, sends_random_bytes,
            take_last_words,
        };
    }

    /// The acts of a hostile peer that sends descriptors.
    pub mod strays {
        pub use crate::laws::strays::{
            dies, make_calls, send_all_with, sends_253_with_each_call,
            sends_random_bytes_and_descriptors, take_last_words,
        };
    }
}

/// Generates a test (`#[test]`) for each law that a transport must keep; see
/// [`laws`](mod@crate::laws).
///
/// `laws!(pair: Transport)` tests the contract of [`Transport`](crate::Transport). `laws!(pair:
/// PassFds)` also tests that of [`PassFds`](crate::PassFds). `pair` is the path of a function that
/// returns two connected ends, of the same type or of two types. Give each transport a separate
/// module:
///
/// ```test_harness
/// #[cfg(test)]
/// mod laws_of_a_stream {
///     use ipc_transport::Stream;
///
///     fn pair() -> (Stream, Stream) {
///         Stream::pair().unwrap()
///     }
///
///     ipc_transport::laws!(pair: PassFds);
/// }
/// ```
#[macro_export]
macro_rules! laws {
    ($pair:path: Transport) => {
        $crate::laws_of_bytes!([$crate::law_tests] $pair,);
        $crate::laws_of_cuts!([$crate::law_tests] $pair,);
    };
    ($pair:path: PassFds) => {
        $crate::laws!($pair: Transport);
        $crate::laws_of_fds!([$crate::law_tests] $pair,);
    };
}

/// Generates a test for each law.
#[doc(hidden)]
#[macro_export]
macro_rules! law_tests {
    ($pair:path, $($law:ident)*) => {
        $(#[test]
        fn $law() {
            $crate::laws::$law($pair);
        })*
    };
}

/// Calls a macro with its arguments and the laws that apply to all transports.
#[doc(hidden)]
#[macro_export]
macro_rules! laws_of_bytes {
    ([$($each:tt)*] $($args:tt)*) => {
        $($each)*! {
            $($args)*
            bytes_arrive_in_order_none_twice_none_missing
            a_count_is_from_one_to_what_was_offered
            a_short_send_takes_what_it_counts
            nothing_offered_is_nothing_taken
            would_block_takes_nothing_and_leaves_all_as_it_was
            no_call_blocks
            after_would_block_anything_else_may_be_offered
            the_directions_are_apart
            the_last_words_come_before_the_end_and_the_end_is_for_ever
            a_sender_told_of_the_end_still_receives_and_gets_no_signal
            signals_are_not_seen
            random_bytes_end_in_a_typed_error
            forged_lengths_end_in_a_typed_error
            half_a_frame_and_silence_end_at_a_deadline
            a_peer_that_dies_at_each_call_leaves_all_that_it_sent
        }
    };
}

/// As `laws_of_bytes`, with the laws about frames. These are slow if every byte takes a call.
#[doc(hidden)]
#[macro_export]
macro_rules! laws_of_cuts {
    ([$($each:tt)*] $($args:tt)*) => {
        $($each)*! { $($args)* every_pair_of_cuts_decodes_alike }
    };
}

/// As `laws_of_bytes`, with the laws about descriptors.
#[doc(hidden)]
#[macro_export]
macro_rules! laws_of_fds {
    ([$($each:tt)*] $($args:tt)*) => {
        $($each)*! {
            $($args)*
            descriptors_ride_on_the_first_byte_of_their_call
            all_go_however_few_bytes_were_taken
            would_block_sends_no_descriptor
            from_none_to_253_arrive_in_order_and_closed_on_exec
            one_call_gives_those_of_one_sending_call_and_no_later_byte
            plain_receiving_drops_descriptors
            what_the_list_cannot_hold_is_closed_and_told
            descriptors_under_way_are_closed_with_the_connection
            every_pair_of_cuts_gives_the_second_frame_its_descriptors
            descriptors_nobody_asked_for_are_closed
            random_bytes_and_descriptors_leave_nothing
            a_peer_that_dies_with_descriptors_at_each_call_leaves_nothing
        }
    };
}
