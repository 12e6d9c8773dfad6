//! Connections that cannot send for a moment.

use std::os::fd::{AsFd, BorrowedFd};

use ipc_frame::{Header, Postcard, PushError};
use ipc_tests::fds::{self, file};
use ipc_tests::forked::soon;
use ipc_transport::{
    Connection, ConnectionError, Errno, Fds, Hello, PassFds, Received, SendError, Stream,
    SystemError, Transport, TransportError,
};

use crate::connection::in_ms;
use crate::outbox::become_user;

const HELLO: Hello = Hello::new("spool", 3).fds(8);

type Side<T = Stream> = Connection<T, 4096>;

/// Both sides flushed before they received, and returned `Exhausted` although frames had arrived.
/// The shortage ends only when one of them receives, so neither ever did.
pub(crate) fn repro_two_sides_with_too_many_descriptors_in_flight_still_receive() {
    become_user(4_000_124);
    fds::limit(60);
    let (left, right) = Stream::pair().unwrap();
    let mut sides = [left, right].map(|socket| Side::new(socket, HELLO));
    sides.iter_mut().for_each(|side| _ = side.flush().unwrap());
    sides.iter_mut().for_each(|side| _ = side.open_until(soon()).unwrap());
    let own = file();
    let mut sent = 0;
    while !sides.iter().all(Side::wants_output) {
        for side in &mut sides {
            side.try_send(Header::request(1, sent), &Postcard(1), &[own.as_fd(); 8]).unwrap();
        }
        sent += 1;
    }
    for id in 0..sent {
        for side in &mut sides {
            let (header, mut got) = side.receive_until(soon()).unwrap();
            assert_eq!((header.id(), got.fds_lost, got.fds.len()), (id, None, 8));
            got.fds.clear();
        }
    }
    assert!(!sides.iter().any(Side::wants_output));
}

/// A stream whose sends of descriptors first return these answers.
struct Scripted {
    inner: Stream,
    answers: Vec<Result<Option<usize>, TransportError>>,
}

impl AsFd for Scripted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl Transport for Scripted {
    fn send(&mut self, pieces: &[&[u8]]) -> Result<Option<usize>, TransportError> {
        self.inner.send(pieces)
    }

    fn receive(&mut self, space: &mut [u8]) -> Result<Option<usize>, TransportError> {
        self.inner.receive(space)
    }
}

impl PassFds for Scripted {
    fn send_with(
        &mut self,
        pieces: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Option<usize>, TransportError> {
        let answer = if fds.is_empty() { None } else { self.answers.pop() };
        answer.unwrap_or_else(|| self.inner.send_with(pieces, fds))
    }

    fn receive_with(
        &mut self,
        space: &mut [u8],
        fds: &mut Fds<'_>,
    ) -> Result<Option<Received>, TransportError> {
        self.inner.receive_with(space, fds)
    }
}

/// Two open sides, of which one sends by the script: its last answer first.
fn scripted(answers: Vec<Result<Option<usize>, TransportError>>) -> (Side<Scripted>, Side) {
    let (inner, other) = Stream::pair().unwrap();
    let mut side = Side::new(Scripted { inner, answers }, HELLO);
    let mut other = Side::new(other, HELLO);
    side.flush().unwrap();
    other.open_until(soon()).unwrap();
    side.open_until(soon()).unwrap();
    (side, other)
}

fn error(errno: i32) -> SystemError {
    SystemError { call: "sendmsg", errno: Errno(errno) }
}

fn ids(side: &mut Side) -> Vec<u64> {
    std::iter::from_fn(|| Some(side.try_receive().unwrap()?.0.id())).collect()
}

/// `send_until` returned `Exhausted` both before and after it had queued the frame. Making the call
/// again, as the documents said, sent the frame twice.
pub(crate) fn repro_a_frame_is_sent_once_however_long_the_shortage_lasts() {
    let short = Err(TransportError::Exhausted(error(libc::ETOOMANYREFS)));
    let own = file();
    let fds = [own.as_fd()];
    let (mut side, mut other) = scripted(vec![short; 20]);
    side.send_until(Header::request(1, 1), &Postcard(1), &fds, soon()).unwrap();
    assert_eq!(ids(&mut other), [1]);
    // The shortage outlasts the deadlines: at most one call a millisecond is made.
    let (mut side, mut other) = scripted(vec![short; 200]);
    let late = side.send_until(Header::request(1, 1), &Postcard(1), &fds, in_ms(20));
    assert_eq!(late, Err(SendError::Connection(ConnectionError::TimedOut)), "it is queued");
    while side.try_send(Header::request(1, 2), &Postcard(1), &fds).is_ok() {}
    let late = side.send_until(Header::request(1, 3), &Postcard(1), &fds, in_ms(20));
    assert_eq!(late, Err(SendError::Push(PushError::Full)), "it is not queued");
    side.flush_until(soon()).unwrap();
    let ids = ids(&mut other);
    assert!(ids[0] == 1 && ids[1..].iter().all(|&id| id == 2), "{ids:?}");
}

/// The kernel refused the descriptors of an earlier frame, and `send_until` returned that error
/// although its own frame stayed queued.
pub(crate) fn repro_an_error_about_an_earlier_frame_leaves_none_queued() {
    let refused = Err(TransportError::FdsRefused(error(libc::EINVAL)));
    let (mut side, mut other) = scripted([vec![refused], vec![Ok(None); 4]].concat());
    let own = file();
    let fds = [own.as_fd()];
    side.try_send(Header::request(1, 1), &Postcard(1), &fds).unwrap();
    let sent = side.send_until(Header::request(1, 2), &Postcard(1), &fds, soon());
    let refused = TransportError::FdsRefused(error(libc::EINVAL));
    assert_eq!(sent, Err(SendError::Connection(ConnectionError::Transport(refused))));
    assert!(!side.wants_output(), "the frame is not queued");
    assert_eq!(side.transport().answers.len(), 0);
    side.send_until(Header::request(1, 3), &Postcard(1), &fds, soon()).unwrap();
    assert_eq!(ids(&mut other), [3]);
}
