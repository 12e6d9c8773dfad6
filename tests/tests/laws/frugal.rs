//! Checks that the crate's laws cannot make, since they may run in parallel with other tests: the
//! process's memory and open descriptors.

use std::os::fd::BorrowedFd;

use ipc_tests::counting::Counting;
use ipc_tests::fds;
use ipc_transport::{Fds, PassFds, Received, Transport, TransportError};

type Moved<T = usize> = Result<Option<T>, TransportError>;

/// A transport that fails if a call allocates memory.
pub(crate) struct Frugal<T>(T);

pub(crate) fn both<A, B>((left, right): (A, B)) -> (Frugal<A>, Frugal<B>) {
    (Frugal(left), Frugal(right))
}

/// Runs a law, and checks that as many descriptors are open afterwards as before.
pub(crate) fn leaves_nothing(law: impl FnOnce()) {
    let open = fds::open().len();
    law();
    assert_eq!(fds::open().len(), open, "descriptors are left");
}

fn without_memory<R>(call: impl FnOnce() -> R) -> R {
    let before = Counting::count();
    let answer = call();
    assert_eq!(Counting::count(), before, "the call allocated memory");
    answer
}

impl<T: Transport> Transport for Frugal<T> {
    fn send(&mut self, pieces: &[&[u8]]) -> Moved {
        without_memory(|| self.0.send(pieces))
    }

    fn receive(&mut self, space: &mut [u8]) -> Moved {
        without_memory(|| self.0.receive(space))
    }

    fn holds_input(&self) -> bool {
        self.0.holds_input()
    }
}

impl<T: PassFds> PassFds for Frugal<T> {
    fn send_with(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        without_memory(|| self.0.send_with(pieces, fds))
    }

    fn receive_with(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        without_memory(|| self.0.receive_with(space, fds))
    }
}
