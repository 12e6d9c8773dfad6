//! A peer that writes raw bytes: the hello cut at each byte, and broken in each way.

use std::string::ToString;
use std::vec;
use std::vec::Vec;

use ipc_frame::{Decode, DecodeError, EncodeError, MessageError, Text};

use super::*;
#[cfg(feature = "socket")]
use crate::contract::{Errno, Fds, Moved, Received, SystemError};
use crate::joining::joiner::InboxError;
use crate::memory::loopback::{Loopback, LoopbackEnd};

const HELLO: Hello = Hello::new("spool", 3).fds(2);

/// Bytes in flight each way.
const SPACE: usize = 600;

/// miri is too slow for every cut.
const STEP: usize = if cfg!(miri) { 7 } else { 1 };

type End<'a> = LoopbackEnd<'a, SPACE>;
type Side<'a> = Connection<End<'a>, 256, 4>;

/// A message of raw bytes.
#[derive(Debug, PartialEq)]
struct Raw<'a>(&'a [u8]);

impl Encode for Raw<'_> {
    fn encoded_len(&self) -> Result<usize, EncodeError> {
        Ok(self.0.len())
    }

    fn encode(&self, space: &mut [u8]) -> Result<usize, EncodeError> {
        space[..self.0.len()].copy_from_slice(self.0);
        Ok(self.0.len())
    }
}

impl<'a> Decode<'a> for Raw<'a> {
    fn decode(payload: &'a [u8]) -> Result<Self, MessageError> {
        Ok(Self(payload))
    }
}

fn hello_frame(payload: &[u8]) -> Vec<u8> {
    frame(Header::ready(), 0, payload)
}

fn frame(header: Header, fd_count: u16, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    let mut bytes = header.encode_with(len, fd_count, 0).unwrap().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// The hello's payload from a program that accepts frames of 256 bytes.
fn payload() -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 0, 0, 1, 0, 0, 2, 0, 3, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(b"spool");
    bytes
}

fn send(end: &mut End<'_>, bytes: &[u8]) {
    assert_eq!(end.send(&[bytes]), Ok((!bytes.is_empty()).then_some(bytes.len())));
}

fn received(end: &mut End<'_>) -> Vec<u8> {
    let mut space = vec![0; SPACE];
    let len = end.receive(&mut space).unwrap().unwrap_or(0);
    space.truncate(len);
    space
}

/// The error of a connection whose peer sends these bytes and ends.
fn fate(bytes: &[u8]) -> ConnectionError {
    let mut loopback = Loopback::<SPACE>::new();
    let (left, mut right) = loopback.ends();
    let mut side = Side::new(left, HELLO);
    send(&mut right, bytes);
    drop(right);
    let error = side.try_receive().err().unwrap();
    assert_eq!(side.try_receive().err(), Some(error), "the error is final");
    let refused = side.try_send(Header::request(1, 1), &Raw(b"x"), &[]);
    assert_eq!(refused.is_err(), error != ConnectionError::Closed || side.is_deaf, "{error}");
    error
}

#[test]
fn a_hello_has_the_bytes_of_the_format() {
    let mut loopback = Loopback::<SPACE>::new();
    let (left, mut right) = loopback.ends();
    let mut side = Side::new(left, HELLO);
    assert!(side.wants_output());
    assert_eq!(side.try_open(), Ok(None));
    assert!(!side.wants_output());
    assert_eq!(received(&mut right), hello_frame(&payload()));
}

#[test]
fn the_longest_hello_fits_into_the_smallest_connection() {
    let mut loopback = Loopback::<SPACE>::new();
    let (left, mut right) = loopback.ends();
    let longest = Hello::new("a name that is cut after 32 bytes", u64::MAX).fds(u16::MAX);
    assert_eq!((longest.service.as_str().len(), longest.fds), (32, 253));
    let mut side = Connection::<_, 74, 1>::new(left, longest);
    assert_eq!(side.try_open(), Ok(None));
    let hello = received(&mut right);
    assert_eq!((hello.len(), hello::LONGEST), (74, 74));
    send(&mut right, &hello);
    assert_eq!(side.try_open(), Ok(Some(Hello { bytes: 74, ..longest })));
}

#[test]
fn a_hello_may_come_in_any_pieces() {
    let mut bytes = hello_frame(&payload());
    let hello = bytes.len();
    bytes.extend(frame(Header::request(1, 7), 0, b"first"));
    for cut in (0..=bytes.len()).step_by(STEP) {
        let mut loopback = Loopback::<SPACE>::new();
        let (left, mut right) = loopback.ends();
        let mut side = Side::new(left, HELLO);
        send(&mut right, &bytes[..cut]);
        assert_eq!(side.try_open().unwrap().is_some(), cut >= hello, "{cut}");
        let is_whole = cut == bytes.len();
        assert_eq!(side.try_receive().unwrap().is_some(), is_whole, "{cut}");
        send(&mut right, &bytes[cut..]);
        if !is_whole {
            let (header, got) = side.try_receive().unwrap().unwrap();
            assert_eq!((header.id(), got.message()), (7, Ok(Raw(b"first"))));
        }
        assert!(side.try_receive().unwrap().is_none());
        let theirs = side.try_open().unwrap().unwrap();
        assert_eq!(theirs, Hello { bytes: 256, ..HELLO });
    }
}

#[test]
fn a_peer_that_ends_within_its_hello_has_closed() {
    let bytes = hello_frame(&payload());
    for cut in (0..=bytes.len()).step_by(STEP) {
        assert_eq!(fate(&bytes[..cut]), ConnectionError::Closed, "{cut}");
    }
}

#[test]
fn a_payload_that_is_cut_or_too_long_is_malformed() {
    let whole = payload();
    for cut in (0..whole.len() - b"spool".len()).step_by(STEP) {
        assert_eq!(fate(&hello_frame(&whole[..cut])), ConnectionError::Malformed, "{cut}");
    }
    let longer = [&whole[..], &[b'x'; 32]].concat();
    assert_eq!(fate(&hello_frame(&longer)), ConnectionError::Malformed);
    let not_text = [&whole[..], b"\xff"].concat();
    assert_eq!(fate(&hello_frame(&not_text)), ConnectionError::Malformed);
}

/// The error after a hello with one changed byte.
fn changed(at: usize, value: u8) -> ConnectionError {
    let mut payload = payload();
    payload[at] = value;
    fate(&hello_frame(&payload))
}

#[test]
fn a_difference_is_told_with_both_sides() {
    let format = changed(0, 9);
    assert_eq!(format, ConnectionError::OtherFormat { ours: 1, theirs: 9 });
    let ours = Hello { bytes: 256, ..HELLO };
    let version = changed(10, 4);
    let theirs = Hello { version: 4, ..ours };
    assert_eq!(version, ConnectionError::OtherService { ours, theirs });
    let service = changed(18, b'S');
    let theirs = Hello { service: Text::new("Spool"), ..ours };
    assert_eq!(service, ConnectionError::OtherService { ours, theirs });
    // After another format version nothing else is read.
    assert_eq!(fate(&hello_frame(&[9, 0, 0, 0])), format);
    for (error, words) in [(format, "9"), (version, "version 4"), (service, "\"Spool\"")] {
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn limits_that_cannot_be_are_malformed_and_large_ones_bind_nothing() {
    let with = |bytes: [u8; 4], fds: [u8; 2]| {
        let mut payload = payload();
        payload[4..8].copy_from_slice(&bytes);
        payload[8..10].copy_from_slice(&fds);
        fate(&hello_frame(&payload))
    };
    assert_eq!(with([23, 0, 0, 0], [0, 0]), ConnectionError::Malformed, "not even a header");
    assert_eq!(with([0, 1, 0, 0], [254, 0]), ConnectionError::Malformed, "over 253");
    assert_eq!(with([24, 0, 0, 0], [253, 0]), ConnectionError::Closed);
    assert_eq!(with([255; 4], [0, 0]), ConnectionError::Closed);

    let mut loopback = Loopback::<SPACE>::new();
    let (left, mut right) = loopback.ends();
    let mut side = Side::new(left, HELLO);
    let mut large = payload();
    large[4..8].fill(255);
    send(&mut right, &hello_frame(&large));
    assert!(side.try_open().unwrap().is_some());
    let long = [7; 233];
    let refused = side.try_send(Header::request(1, 1), &Raw(&long), &[]);
    assert_eq!(
        refused,
        Err(SendError::Push(PushError::TooLong { len: 233, capacity: 232 })),
        "our own limit"
    );
}

#[test]
fn the_peers_limits_bind_the_sender_alone() {
    let mut loopback = Loopback::<SPACE>::new();
    let (left, mut right) = loopback.ends();
    let mut side = Side::new(left, HELLO);
    let request = Header::request(1, 1);
    assert_eq!(side.try_send(request, &Raw(b"x"), &[]), Err(SendError::NotOpen));
    let mut small = payload();
    small[4..8].copy_from_slice(&[30, 0, 0, 0]);
    send(&mut right, &hello_frame(&small));
    assert!(side.try_open().unwrap().is_some());
    let refused = side.try_send(request, &Raw(b"7 bytes"), &[]);
    assert_eq!(refused, Err(SendError::Push(PushError::TooLong { len: 7, capacity: 6 })));
    let refused = side.try_send(Header::ready(), &Raw(b""), &[]);
    assert_eq!(refused, Err(SendError::OutOfPlace { kind: Kind::Ready }));
    assert_eq!(side.try_send(request, &Raw(b"6 byte"), &[]), Ok(()));
    let sent = received(&mut right);
    assert!(sent.ends_with(&frame(request, 0, b"6 byte")));
}

#[test]
fn what_comes_out_of_place_ends_the_connection() {
    let hello = hello_frame(&payload());
    let out_of_place = |kind| ConnectionError::OutOfPlace { kind };
    let request = frame(Header::request(1, 1), 0, b"");
    assert_eq!(fate(&request), out_of_place(Kind::Request), "before the hello");
    assert_eq!(fate(&frame(Header::failed(), 0, b"")), out_of_place(Kind::Failed));
    assert_eq!(fate(&[&hello[..], &hello].concat()), out_of_place(Kind::Ready), "twice");
    let failed = frame(Header::failed(), 0, b"");
    assert_eq!(fate(&[hello, failed].concat()), out_of_place(Kind::Failed));
}

#[test]
fn frames_beyond_what_was_agreed_end_the_connection() {
    let hello = hello_frame(&payload());
    let long = frame(Header::request(1, 1), 0, &[0; 233]);
    let error = InboxError::Decode(DecodeError::TooLong { len: 233, capacity: 232 });
    assert_eq!(fate(&[&hello[..], &long].concat()), ConnectionError::Frames(error));
    let with_fds = frame(Header::request(1, 1), 3, b"");
    let error = ConnectionError::FdsNotAllowed { count: 3, limit: 2 };
    assert_eq!(fate(&[&hello[..], &with_fds].concat()), error);
    let error = InboxError::Decode(DecodeError::UnknownKind { kind: b'/' });
    let error = ConnectionError::Frames(error);
    assert_eq!(fate(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"), error);
}

#[test]
fn frames_before_a_fault_or_the_end_are_given_first() {
    let mut bytes = hello_frame(&payload());
    bytes.extend(frame(Header::request(1, 1), 0, b"one"));
    bytes.extend(frame(Header::one_way(1, 2), 0, b"two"));
    for tail in [&b""[..], &[0xff; 24]] {
        let mut loopback = Loopback::<SPACE>::new();
        let (left, mut right) = loopback.ends();
        let mut side = Side::new(left, HELLO);
        send(&mut right, &[&bytes[..], tail].concat());
        drop(right);
        for expected in [&b"one"[..], b"two"] {
            let (_, got) = side.try_receive().unwrap().unwrap();
            assert_eq!(got.payload, expected);
        }
        assert!(side.try_receive().is_err());
    }
}

/// Two open connections with each other. The second carries no descriptors.
fn open<'a>(loopback: &'a mut Loopback<SPACE>) -> (Side<'a>, Side<'a>) {
    let (left, right) = loopback.ends();
    let (mut left, mut right) = (Side::new(left, HELLO), Side::without_fds(right, HELLO));
    assert_eq!(left.try_open(), Ok(None));
    assert_eq!(right.try_open().unwrap().map(|theirs| theirs.fds), Some(2));
    assert_eq!(left.try_open().unwrap().map(|theirs| theirs.fds), Some(0));
    (left, right)
}

#[test]
fn a_peer_that_receives_nothing_fills_the_buffer_and_loses_nothing() {
    let mut loopback = Loopback::<SPACE>::new();
    let (mut left, mut right) = open(&mut loopback);
    let mut sent = 0;
    let error = loop {
        match left.try_send(Header::one_way(1, sent), &Raw(&[1; 100]), &[]) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, SendError::Push(PushError::Full));
    assert!(left.wants_output() && sent > 4);
    for id in 0..sent {
        assert_eq!(right.try_receive().unwrap().unwrap().0.id(), id);
        left.flush().unwrap();
    }
    assert!(!left.wants_output());
    assert_eq!(left.try_send(Header::one_way(1, sent), &Raw(b""), &[]), Ok(()));
}

#[test]
fn a_peer_that_has_ended_is_told_to_a_sender() {
    let mut loopback = Loopback::<SPACE>::new();
    let (mut left, mut right) = open(&mut loopback);
    assert_eq!(right.try_send(Header::one_way(1, 1), &Raw(b"last"), &[]), Ok(()));
    drop(right);
    let refused = left.try_send(Header::one_way(1, 1), &Raw(b"x"), &[]);
    assert_eq!(refused, Err(SendError::Connection(ConnectionError::Closed)));
    assert!(!left.wants_output(), "nothing waits for a room that never comes");
    assert_eq!(left.flush(), Err(ConnectionError::Closed), "what was queued is lost");
    assert_eq!(left.try_receive().unwrap().unwrap().1.payload, b"last");
    assert_eq!(left.try_receive().err(), Some(ConnectionError::Closed));
}

#[cfg(feature = "socket")]
const ERROR: SystemError = SystemError { call: "sendmsg", errno: Errno(22) };

/// A transport that fails to send descriptors.
#[cfg(feature = "socket")]
struct Failing<T>(T, fn(SystemError) -> TransportError);

#[cfg(feature = "socket")]
impl<T: Transport> Transport for Failing<T> {
    fn send(&mut self, pieces: &[&[u8]]) -> Moved {
        self.0.send(pieces)
    }

    fn receive(&mut self, space: &mut [u8]) -> Moved {
        self.0.receive(space)
    }
}

#[cfg(feature = "socket")]
impl<T: PassFds> PassFds for Failing<T> {
    fn send_with(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        if fds.is_empty() { self.0.send(pieces) } else { Err((self.1)(ERROR)) }
    }

    fn receive_with(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        self.0.receive_with(space, fds)
    }
}

#[cfg(feature = "socket")]
#[test]
fn a_frame_whose_descriptors_are_refused_is_dropped_alone() {
    use rustix::fd::AsFd;
    use rustix::fs::{Mode, OFlags};

    let mut loopback = Loopback::<SPACE>::new();
    let (left, mut right) = loopback.ends();
    let mut side = Connection::<_, 256, 4>::new(Failing(left, TransportError::FdsRefused), HELLO);
    send(&mut right, &hello_frame(&payload()));
    assert!(side.try_open().unwrap().is_some());
    let null = rustix::fs::open(c"/dev/null", OFlags::CLOEXEC, Mode::empty()).unwrap();
    for id in [1, 2, 3] {
        let refused = side.try_send(Header::request(1, id), &Raw(b"x"), &[null.as_fd()]);
        let is_refused = matches!(
            refused,
            Err(SendError::Connection(ConnectionError::Transport(TransportError::FdsRefused(_))))
        );
        assert!(is_refused && !side.wants_output(), "{refused:?}");
    }
    received(&mut right);
    let request = Header::request(1, 4);
    assert_eq!(side.try_send(request, &Raw(b"goes on"), &[]), Ok(()));
    assert_eq!(received(&mut right), frame(request, 0, b"goes on"));
}

/// While the transport was short, `try_receive` returned `Exhausted` before the frames that had
/// arrived.
#[cfg(feature = "socket")]
#[test]
fn repro_a_shortage_withholds_no_frame_that_has_arrived() {
    use rustix::fd::AsFd;
    use rustix::fs::{Mode, OFlags};

    let mut loopback = Loopback::<SPACE>::new();
    let (left, mut right) = loopback.ends();
    let mut side = Connection::<_, 256, 4>::new(Failing(left, TransportError::Exhausted), HELLO);
    send(&mut right, &hello_frame(&payload()));
    assert!(side.try_open().unwrap().is_some());
    let null = rustix::fs::open(c"/dev/null", OFlags::CLOEXEC, Mode::empty()).unwrap();
    assert_eq!(side.try_send(Header::request(1, 1), &Raw(b"x"), &[null.as_fd()]), Ok(()));
    for id in [1, 2] {
        send(&mut right, &frame(Header::one_way(1, id), 0, b"arrived"));
    }
    for id in [1, 2] {
        assert_eq!(side.try_receive().unwrap().unwrap().0.id(), id);
    }
    let short = ConnectionError::Transport(TransportError::Exhausted(ERROR));
    assert_eq!(side.try_receive().err(), Some(short), "told once there is no frame");
    assert!(side.wants_output());
}
