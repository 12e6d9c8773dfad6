//! What carries frames between main and a worker: a stream, or a ring with a stream beside it.

use core::fmt;
use core::sync::atomic::AtomicU32;

use ipc_transport::{Blocking, PassFds, Patience, Stream, send_to};
use rustix::fd::BorrowedFd;

use crate::server::Sent;

/// What carries frames: [`OverSocket`] or `OverRing`. The trait is sealed.
///
/// This is a type, so a program links only what it uses.
pub trait Medium: fmt::Debug + Sized {
    /// The transport, blocking with patience or nonblocking. One type serves both and both sides,
    /// so that the code that moves the bytes exists once.
    #[doc(hidden)]
    type Link<'a>: PassFds
    where
        Self: 'a;

    /// Creates main's end, and the worker's.
    #[doc(hidden)]
    const ENDS: [fn() -> Self; 2];

    /// Returns how many shared words it needs for `bytes` bytes in each direction.
    #[doc(hidden)]
    fn page_len(bytes: usize) -> usize;

    /// Returns whether the system lets processes use such words.
    #[doc(hidden)]
    fn is_possible() -> bool;

    /// Returns this end. It uses the words once both sides have agreed on them.
    #[doc(hidden)]
    fn link<'a>(
        &'a mut self,
        stream: &'a mut Stream,
        words: &'a [AtomicU32],
        patience: Option<Patience>,
    ) -> Self::Link<'a>;

    /// Returns whether the stream will become readable for the next frame, if frames go through the
    /// words.
    #[doc(hidden)]
    fn shows(&self) -> bool {
        true
    }

    /// Stops relying on that, before a blocking receive.
    #[doc(hidden)]
    fn stop_showing(_link: &mut Self::Link<'_>) {}

    /// Returns an upper bound of the bytes to receive, without those in the stream.
    #[doc(hidden)]
    fn waiting(_link: &Self::Link<'_>) -> usize {
        0
    }

    /// Returns a function that sends and waits for room, from any thread, while the link does not
    /// send.
    #[doc(hidden)]
    fn sender<'a>(
        link: &Self::Link<'a>,
        stream: BorrowedFd<'a>,
    ) -> impl Fn(&[&[u8]]) -> Sent + Sync + 'a
    where
        Self: 'a;
}

/// Frames go over the stream socket (unix(7)).
#[derive(Debug)]
pub struct OverSocket;

impl Medium for OverSocket {
    type Link<'a> = Blocking<'a, Stream>;

    const ENDS: [fn() -> Self; 2] = [|| Self; 2];

    fn page_len(_bytes: usize) -> usize {
        0
    }

    fn is_possible() -> bool {
        true
    }

    #[inline]
    fn link<'a>(
        &'a mut self,
        stream: &'a mut Stream,
        _words: &'a [AtomicU32],
        patience: Option<Patience>,
    ) -> Self::Link<'a> {
        stream.blocking().with(patience)
    }

    fn sender<'a>(
        _link: &Self::Link<'a>,
        stream: BorrowedFd<'a>,
    ) -> impl Fn(&[&[u8]]) -> Sent + Sync + 'a
    where
        Self: 'a,
    {
        move |pieces| send_to(stream, pieces)
    }
}
