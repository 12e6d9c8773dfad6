//! A transport that fails at random, reproducibly for each seed.

use heapless::Vec;

use crate::contract::{
    Errno, Fds, Moved, PIECES, PassFds, Received, SystemError, Transport, TransportError, cut,
};
use crate::fd::BorrowedFd;

/// Which faults are injected and how often. Each is the probability per call, from 0 (never)
/// to 255 (always).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Calls are short: they use only the start of the bytes or of the space.
    pub cut: u8,
    /// Calls do nothing and return that they would block.
    pub delay: u8,
    /// Calls fail once with [`Faults::ERROR`].
    pub fail: u8,
    /// Receives lose their descriptors, as if the receiver had reached its limit (`EMFILE`).
    pub drop_fds: u8,
    /// Calls close the connection.
    pub disconnect: u8,
}

impl Faults {
    /// No faults.
    pub const NONE: Self = Self { cut: 0, delay: 0, fail: 0, drop_fds: 0, disconnect: 0 };

    /// Short counts, delays and temporary errors: every fault that loses nothing under the
    /// contract.
    pub const HARMLESS: Self = Self { cut: 128, delay: 115, fail: 16, ..Self::NONE };

    /// Every fault, more often: some descriptors are lost and some connections closed.
    pub const HARSH: Self = Self { cut: 160, delay: 136, fail: 32, drop_fds: 64, disconnect: 2 };

    /// The error of an injected failure. The call moved nothing.
    pub const ERROR: TransportError =
        TransportError::System(SystemError { call: "faulty", errno: Errno(5) });
}

/// A transport with injected faults: it cuts, delays, fails and drops.
///
/// The faults depend only on the seed and the calls. It works over any transport, and carries
/// descriptors if that transport does.
///
/// ```
/// use ipc_transport::{Faults, Faulty, Loopback, Transport};
///
/// let mut loopback = Loopback::<64>::new();
/// let (left, mut right) = loopback.ends();
/// let mut left = Faulty::new(left, Faults { cut: 255, ..Faults::NONE }, 1);
/// let mut rest = &b"hello"[..];
/// while let Some(sent) = left.send(&[rest])? {
///     rest = &rest[sent..];
/// }
/// assert_eq!(right.receive(&mut [0; 8])?, Some(5));
/// # Ok::<(), ipc_transport::TransportError>(())
/// ```
#[derive(Debug)]
pub struct Faulty<T> {
    /// `None` once the connection is closed.
    inner: Option<T>,
    faults: Faults,
    state: u64,
}

/// The generator's increment.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl<T> Faulty<T> {
    /// Wraps a transport.
    pub const fn new(inner: T, faults: Faults, seed: u64) -> Self {
        Self { inner: Some(inner), faults, state: seed }
    }

    /// Returns the next random number (splitmix64, which works with any seed).
    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    const fn happens(&mut self, chance: u8) -> bool {
        // A number below 255, with a small bias.
        chance > 0 && (self.next() >> 32) % 255 < chance as u64
    }

    /// Returns a number from 1 to `limit`, or `limit` itself if the call is not cut.
    fn cut(&mut self, limit: usize) -> usize {
        if limit < 2 || !self.happens(self.faults.cut) {
            return limit;
        }
        // 31 bits fit.
        1 + usize::try_from(self.next() >> 33).unwrap_or(0) % limit
    }

    /// Calls the inner transport with a length of up to `len`, unless a fault comes first.
    fn call<R>(&mut self, len: usize, call: impl FnOnce(&mut T, usize) -> Moved<R>) -> Moved<R> {
        if self.happens(self.faults.disconnect) {
            self.inner = None;
        }
        let (is_late, fails) = (self.happens(self.faults.delay), self.happens(self.faults.fail));
        let len = self.cut(len);
        match &mut self.inner {
            None => Err(TransportError::Closed),
            Some(_) if is_late => Ok(None),
            Some(_) if fails => Err(Faults::ERROR),
            Some(inner) => call(inner, len),
        }
    }

    /// Sends a possibly cut copy of the pieces through `call`.
    fn send_by(&mut self, pieces: &[&[u8]], call: impl FnOnce(&mut T, &[&[u8]]) -> Moved) -> Moved {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        self.call(len, |inner, len| call(inner, &cut(pieces, len).collect::<Vec<_, PIECES>>()))
    }

    /// Receives through `call` into a possibly cut space.
    fn receive_by<R>(
        &mut self,
        space: &mut [u8],
        call: impl FnOnce(&mut T, &mut [u8]) -> Moved<R>,
    ) -> Moved<R> {
        let len = space.len();
        self.call(len, |inner, len| call(inner, space.get_mut(..len).unwrap_or_default()))
    }
}

impl<T: Transport> Transport for Faulty<T> {
    fn send(&mut self, pieces: &[&[u8]]) -> Moved {
        self.send_by(pieces, |inner, pieces| inner.send(pieces))
    }

    fn receive(&mut self, space: &mut [u8]) -> Moved {
        self.receive_by(space, |inner, space| inner.receive(space))
    }

    fn holds_input(&self) -> bool {
        self.inner.as_ref().is_some_and(Transport::holds_input)
    }
}

impl<T: PassFds> PassFds for Faulty<T> {
    fn send_with(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        self.send_by(pieces, |inner, pieces| inner.send_with(pieces, fds))
    }

    fn receive_with(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        let lost = self.happens(self.faults.drop_fds);
        let before = fds.len();
        let mut received = self.receive_by(space, |inner, space| inner.receive_with(space, fds))?;
        if lost && fds.len() > before {
            fds.truncate(before);
            received = received.map(|received| Received { fds_truncated: true, ..received });
        }
        Ok(received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::loopback::Loopback;

    fn answers(seed: u64) -> std::vec::Vec<Moved> {
        let mut loopback = Loopback::<64>::new();
        let (left, mut right) = loopback.ends();
        let mut left = Faulty::new(left, Faults::HARSH, seed);
        let call = |_| {
            let answer = left.send(&[b"hello", b"world"]);
            _ = right.receive(&mut [0; 64]);
            answer
        };
        (0..200).map(call).collect()
    }

    #[test]
    fn faults_follow_from_the_seed() {
        assert_eq!(answers(1), answers(1));
        assert_ne!(answers(1), answers(2));
        let all: std::vec::Vec<_> = (0..10).flat_map(answers).collect();
        assert!(all.contains(&Err(Faults::ERROR)));
        assert!(all.contains(&Ok(None)));
    }

    #[test]
    fn a_dropped_connection_is_the_end_for_both() {
        let mut loopback = Loopback::<64>::new();
        let (left, mut right) = loopback.ends();
        let mut left = Faulty::new(left, Faults { disconnect: 20, ..Faults::NONE }, 1);
        let mut sent = 0;
        while let Ok(answer) = left.send(&[b"x"]) {
            sent += answer.unwrap_or(0);
        }
        assert_eq!(left.receive(&mut [0; 8]), Err(TransportError::Closed));
        let mut space = [0; 64];
        assert_eq!(right.receive(&mut space), Ok(Some(sent)), "the last words first");
        assert_eq!(right.receive(&mut space), Err(TransportError::Closed));
    }

    /// The seed that leads to a state of zero, at which the generator stood still.
    #[test]
    fn repro_no_seed_makes_it_stand_still() {
        let mut loopback = Loopback::<64>::new();
        let (left, mut right) = loopback.ends();
        let mut left = Faulty::new(left, Faults::HARMLESS, 0_u64.wrapping_sub(GOLDEN));
        let mut sent = 0;
        for _ in 0..1_000 {
            sent += usize::from(matches!(left.send(&[b"x"]), Ok(Some(_))));
            _ = right.receive(&mut [0; 64]);
        }
        assert!(sent > 100, "{sent}");
    }

    #[test]
    fn repro_chances_go_from_never_to_always() {
        let mut loopback = Loopback::<64>::new();
        let (left, _right) = loopback.ends();
        let mut faulty = Faulty::new(left, Faults::NONE, 1);
        let mut happened = |chance| (0..25_500).filter(|_| faulty.happens(chance)).count();
        assert_eq!((happened(0), happened(255)), (0, 25_500));
        assert!((50..150).contains(&happened(1)), "{}", happened(1));
    }
}
