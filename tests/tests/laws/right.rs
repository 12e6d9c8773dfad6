//! Correct transports that failed a law.

use std::os::fd::BorrowedFd;
use std::thread::scope;

use ipc_tests::fds;
use ipc_transport::{
    Errno, Fds, PassFds, Received, Stream, SystemError, Transport, TransportError, laws,
};

use crate::pairs;

type Moved<T = usize> = Result<Option<T>, TransportError>;

/// The law compared what the descriptor showed with a receive after it. Bytes that arrived in
/// between failed it.
pub(crate) fn repro_bytes_that_arrive_at_any_time_break_no_law() {
    for _ in 0..10 {
        laws::what_would_be_received_shows(pairs::forwarded);
    }
}

/// A stream that is short of memory in every third call.
struct Short(Stream, usize);

impl Short {
    fn call(&mut self) -> Result<&mut Stream, TransportError> {
        self.1 += 1;
        if self.1.is_multiple_of(3) {
            let error = SystemError { call: "sendmsg", errno: Errno(libc::ENOBUFS) };
            return Err(TransportError::Exhausted(error));
        }
        Ok(&mut self.0)
    }
}

impl Transport for Short {
    fn send(&mut self, pieces: &[&[u8]]) -> Moved {
        self.call()?.send(pieces)
    }

    fn receive(&mut self, space: &mut [u8]) -> Moved {
        self.call()?.receive(space)
    }
}

impl PassFds for Short {
    fn send_with(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        self.call()?.send_with(pieces, fds)
    }

    fn receive_with(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        self.call()?.receive_with(space, fds)
    }
}

fn short() -> (Short, Short) {
    let (left, right) = pairs::stream();
    (Short(left, 0), Short(right, 1))
}

macro_rules! all {
    ($pair:path, $($law:ident)*) => {
        $(laws::$law($pair);)*
    };
}

/// The laws took `Exhausted` for a failure. The contract calls it temporary.
pub(crate) fn repro_a_shortage_now_and_then_breaks_no_law() {
    ipc_transport::laws_of_bytes!([all] short,);
    ipc_transport::laws_of_cuts!([all] short,);
    ipc_transport::laws_of_fds!([all] short,);
}

/// Each of several laws opens hundreds of descriptors. In parallel they reached the limit of 1024
/// that is usual for a process, and lost some.
pub(crate) fn repro_laws_in_parallel_stay_below_the_usual_limit() {
    fds::limit(400);
    scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    laws::from_none_to_253_arrive_in_order_and_closed_on_exec(pairs::stream);
                    laws::descriptors_nobody_asked_for_are_closed(pairs::stream);
                    laws::random_bytes_and_descriptors_leave_nothing(pairs::stream);
                    laws::a_peer_that_dies_with_descriptors_at_each_call_leaves_nothing(
                        pairs::stream,
                    );
                }
            });
        }
    });
}
