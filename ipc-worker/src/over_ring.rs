//! Workers over a ring in shared memory.

use core::ffi::CStr;
use core::marker::PhantomData;
use core::sync::atomic::AtomicU32;

use ipc_barrier::process::Reason;
use ipc_transport::{Patience, RingEnd, RingLink, Side, Stream};
use rustix::fd::{AsFd, BorrowedFd};

use crate::handler::Handler;
#[cfg(feature = "std")]
use crate::process::argument;
use crate::process::{Exec, Fork, Medium, OverSocket, serve_over};
use crate::server::Sent;
use crate::start::Start;

/// Frames go through a ring in shared memory. A socket beside it carries descriptors and wake-ups;
/// see [`Ring`](ipc_transport::Ring).
#[derive(Debug)]
pub struct OverRing(RingEnd);

impl Medium for OverRing {
    type Link<'a> = RingLink<'a>;

    const ENDS: [fn() -> Self; 2] =
        [|| Self(RingEnd::new(Side::First)), || Self(RingEnd::new(Side::Second))];

    fn page_len(bytes: usize) -> usize {
        RingEnd::page_len(bytes)
    }

    fn is_possible() -> bool {
        RingEnd::is_possible()
    }

    #[inline]
    fn link<'a>(
        &'a mut self,
        stream: &'a mut Stream,
        words: &'a [AtomicU32],
        patience: Option<Patience>,
    ) -> Self::Link<'a> {
        let stream: &Stream = stream;
        self.0.link(stream.as_fd(), words, patience)
    }

    #[inline]
    fn shows(&self) -> bool {
        self.0.shows()
    }

    #[inline]
    fn stop_showing(link: &mut Self::Link<'_>) {
        link.stop_showing();
    }

    fn waiting(link: &Self::Link<'_>) -> usize {
        link.waiting()
    }

    fn sender<'a>(
        link: &Self::Link<'a>,
        _stream: BorrowedFd<'a>,
    ) -> impl Fn(&[&[u8]]) -> Sent + Sync + 'a
    where
        Self: 'a,
    {
        let sender = link.sender();
        move |pieces| sender.send(pieces)
    }
}

impl<H: Handler, B> Start<Fork<H, OverSocket, B>> {
    /// Sends requests and replies through a ring in shared memory. The socket carries only
    /// descriptors and wake-ups. On one CPU, a round trip takes about two thirds of the time. The
    /// ring takes `2 × BYTES` of shared memory.
    ///
    /// A waiting call notices the worker's death up to 20 ms late; an event loop notices it at
    /// once.
    ///
    /// If the system refuses futex(2) to either side, the worker stays on the socket; see
    /// [`Worker::is_over_ring`](crate::Worker::is_over_ring).
    #[must_use]
    pub fn over_ring(self) -> Start<Fork<H, OverRing, B>> {
        let Fork { handler, by, blocks, .. } = self.launch;
        Start { launch: Fork { handler, by, medium: PhantomData, blocks }, policy: self.policy }
    }
}

impl<'a, B> Start<Exec<'a, OverSocket, B>> {
    /// Sends requests and replies through a ring, as [`over_ring`](Start::over_ring) of a forked
    /// worker does. The program must serve with [`serve_over_ring`](crate::serve_over_ring); with
    /// any other, the worker stays on the socket.
    #[must_use]
    pub fn over_ring(self) -> Start<Exec<'a, OverRing, B>> {
        let Exec { file, path, args, env, blocks, .. } = self.launch;
        let launch = Exec { file, path, args, env, medium: PhantomData, blocks };
        Start { launch, policy: self.policy }
    }
}

/// Serves as [`serve`](crate::serve) does, over a ring if main offers one, otherwise over the
/// socket; see [`Start::over_ring`](crate::Start::over_ring).
#[cfg(feature = "std")]
pub fn serve_over_ring<H: Handler, const SLOTS: usize, const BYTES: usize>(
    make: impl FnOnce() -> Result<H, Reason>,
) -> ! {
    let argument = argument().unwrap_or_default();
    serve_over_ring_as::<H, SLOTS, BYTES>(&argument, make)
}

/// Serves as [`serve_over_ring`] does, for a program without std; see
/// [`serve_as`](crate::serve_as).
pub fn serve_over_ring_as<H: Handler, const SLOTS: usize, const BYTES: usize>(
    argument: &CStr,
    make: impl FnOnce() -> Result<H, Reason>,
) -> ! {
    serve_over::<OverRing, H, SLOTS, BYTES>(argument, make)
}
