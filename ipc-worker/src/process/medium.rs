//! What carries frames between main and a worker: the stream alone, or a ring with a stream beside it.

use core::fmt;
use core::sync::atomic::AtomicU32;

use ipc_transport::{Blocking, PassFds, Patience, Stream, send_to};
use rustix::fd::BorrowedFd;

use crate::server::Sent;

/// What carries frames: [`OverSocket`] or `OverRing`. No other crate can add one.
///
/// It is a type, so that a program links only what it uses.
pub trait Medium: fmt::Debug + Sized {
    /// The transport that waits with patience, or not at all: one type for both, and for both sides,
    /// so that there is one copy of what moves the bytes.
    #[doc(hidden)]
    type Link<'a>: PassFds
    where
        Self: 'a;

    /// Main's end, and the worker's.
    #[doc(hidden)]
    const ENDS: [fn() -> Self; 2];

    /// Words that it needs of those that are shared, with so many bytes each way.
    #[doc(hidden)]
    fn page_len(bytes: usize) -> usize;

    /// Returns whether the system lets processes use such words.
    #[doc(hidden)]
    fn is_possible() -> bool;

    /// Returns this end over its stream, and its words once both sides have agreed on them.
    #[doc(hidden)]
    fn link<'a>(
        &'a mut self,
        stream: &'a mut Stream,
        words: &'a [AtomicU32],
        patience: Option<Patience>,
    ) -> Self::Link<'a>;

    /// Returns whether the stream will show what comes next, where frames go by the words.
    #[doc(hidden)]
    fn shows(&self) -> bool {
        true
    }

    /// Does without that, before a receive that is to wait.
    #[doc(hidden)]
    fn stop_showing(_link: &mut Self::Link<'_>) {}

    /// Returns how many bytes wait to be received beside those in the stream, and not fewer.
    #[doc(hidden)]
    fn waiting(_link: &Self::Link<'_>) -> usize {
        0
    }

    /// Returns what sends, and waits for room, while the link does not: in any thread.
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
