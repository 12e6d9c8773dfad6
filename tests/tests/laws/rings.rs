//! A ring's peer that writes anything to the words, sends anything over the socket, and wakes
//! nobody.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread;
use std::time::Duration;

use ipc_tests::cases;
use ipc_tests::fds::{self, Fds, file};
use ipc_tests::seccomp::refuse_at_first;
use ipc_transport::{
    Instant, Interest, PassFds, Patience, RingEnd, RingLink, SharedPage, Side, Stream, Transport,
    TransportError, Watched, wait,
};

use ipc_transport::laws::parts::{Random, is_closed, patiently, send_all};

const BYTES: usize = 1024;

/// Where the words that this side reads are, and the tail of the track that it writes.
const HEAD: usize = RingEnd::page_len(BYTES) / 2;
const DATA: usize = HEAD + 64;
const TAIL: usize = 32;
const WITH_FDS: u32 = 1 << 31;
/// The message with the descriptors of the first chunk that has some.
const FDS: u8 = 1 << 7;

/// A nonblocking call and a blocking one.
const MODES: [Option<Patience>; 2] = [None, Some(Patience::SLEEP)];

/// This side of a ring, and everything of the other side.
struct Ends {
    own: RingEnd,
    socket: Stream,
    page: SharedPage,
    peer: RingEnd,
    peer_socket: Stream,
}

impl Ends {
    fn new() -> Self {
        let (mut socket, peer_socket) = Stream::pair().unwrap();
        socket.set_receive_timeout(Duration::from_millis(5)).unwrap();
        let page = SharedPage::new(RingEnd::page_len(BYTES)).unwrap();
        let [own, peer] = [Side::First, Side::Second].map(RingEnd::new);
        Self { own, socket, page, peer, peer_socket }
    }

    /// This side, and the words as the other side maps them.
    fn link(&mut self, patience: Option<Patience>) -> (RingLink<'_>, &[AtomicU32]) {
        let words = self.page.words();
        (self.own.link(self.socket.as_fd(), words, patience), words)
    }

    fn receive(&mut self, patience: Option<Patience>) -> Result<Option<usize>, TransportError> {
        self.link(patience).0.receive(&mut [0; 64])
    }

    /// The other side, while it is honest.
    fn honest(&mut self) -> RingLink<'_> {
        self.peer.link(self.peer_socket.as_fd(), self.page.words(), None)
    }

    fn write(&self, place: usize, value: u32) {
        self.page.words()[place].store(value, Release);
    }

    fn is_broken(&mut self, patience: Option<Patience>, why: &str) {
        patiently(|| match self.receive(patience) {
            Ok(None) => None,
            answer => {
                assert_eq!(answer, Err(TransportError::BrokenRing), "{why}");
                Some(())
            }
        });
        assert_eq!(
            self.receive(patience),
            Err(TransportError::BrokenRing),
            "{why}: the error is final"
        );
    }
}

pub(crate) fn cursors_that_cannot_be_break_the_ring() {
    for mode in MODES {
        for head in [4, 12, 1032, 1 << 31, u32::MAX - 7] {
            let mut ends = Ends::new();
            ends.write(HEAD, head);
            ends.is_broken(mode, &format!("head {head}"));
        }
        for tail in [4, 8, 1 << 31, u32::MAX - 1024 - 7] {
            let mut ends = Ends::new();
            ends.write(TAIL, tail);
            for _ in 0..2 {
                let sent = ends.link(mode).0.send(&[&[0; 2000]]);
                assert_eq!(sent, Err(TransportError::BrokenRing), "tail {tail}");
            }
        }
    }
}

pub(crate) fn lengths_that_cannot_be_break_the_ring() {
    for mode in MODES {
        for len in [0, 17, 24, 1024, 1 << 30, u32::MAX, WITH_FDS] {
            let mut ends = Ends::new();
            ends.write(DATA, len);
            ends.write(HEAD, 24);
            ends.is_broken(mode, &format!("length {len:#x}"));
        }
    }
}

pub(crate) fn socket_bytes_of_no_meaning_break_the_ring_after_what_was_sent() {
    for mode in MODES {
        for bytes in [&b"x"[..], b"bbx", b"bbbbbbbbbbbbbbbbbbbbbbbbbbx", b"xf"] {
            let mut ends = Ends::new();
            assert_eq!(ends.honest().send(&[b"bytes"]), Ok(Some(5)));
            send_all(&mut ends.peer_socket, bytes);
            assert_eq!(ends.receive(mode), Ok(Some(5)));
            ends.is_broken(mode, "unknown bytes");
        }
    }
}

pub(crate) fn descriptors_that_no_bytes_claim_break_the_ring_after_a_while() {
    let (file, open) = (file(), fds::open().len());
    for mode in MODES {
        let mut ends = Ends::new();
        assert_eq!(ends.peer_socket.send_with(&[&[FDS]], &[file.as_fd(); 3]), Ok(Some(1)));
        assert_eq!(ends.receive(mode), Ok(None), "the bytes may be about to come");
        ends.is_broken(mode, "descriptors without bytes");
        drop(ends);
        assert_eq!(fds::open().len(), open);
    }
    drop(file);
}

pub(crate) fn descriptors_that_are_missing_or_of_other_bytes_break_the_ring() {
    let file = file();
    for mode in MODES {
        for socket in [&b""[..], b"b", b"x", &[b'b'; 300], &[FDS + 1], &[b'b', FDS + 127]] {
            let mut ends = Ends::new();
            if let [bells @ .., last] = socket {
                send_all(&mut ends.peer_socket, bells);
                ends.peer_socket.send_with(&[&[*last]], &[file.as_fd()]).unwrap();
            }
            ends.write(DATA, 5 | WITH_FDS);
            ends.write(HEAD, 16);
            for _ in 0..2 {
                let mut list = Fds::default();
                let received = ends.link(mode).0.receive_with(&mut [0; 64], &mut list.fds());
                assert_eq!((received, list.len()), (Err(TransportError::BrokenRing), 0));
            }
        }
    }
}

pub(crate) fn a_flood_of_bells_costs_wake_ups_only() {
    for mode in MODES {
        let mut ends = Ends::new();
        while ends.peer_socket.send(&[&[b'b'; 4096]]).unwrap().is_some() {}
        // Input that comes without a bell, since the socket is full.
        assert_eq!(ends.receive(mode), Ok(None));
        assert_eq!(ends.honest().send(&[b"bytes"]), Ok(Some(5)));
        assert_eq!(patiently(|| ends.receive(mode).unwrap()), 5);
    }
}

/// The receive has a timeout of 5 ms, or twice that after a spurious wake-up. Each look at the
/// socket takes at least 2 ms of it.
pub(crate) fn repro_bells_do_not_hold_a_receive_over_its_time() {
    let mut ends = Ends::new();
    assert_eq!(ends.peer_socket.send(&[&[b'b'; 4096]]), Ok(Some(4096)));
    assert_eq!(ends.receive(MODES[1]), Ok(None));
    let left = patiently(|| ends.socket.receive(&mut [0; 5000]).unwrap());
    assert!(left > 4096 - 10 * 16, "{} bells were taken", 4096 - left);
}

pub(crate) fn a_peer_that_ends_amid_a_chunk_leaves_what_it_had_written() {
    for mode in MODES {
        let mut ends = Ends::new();
        ends.write(DATA, 100);
        ends.write(HEAD, 112);
        // These bytes were never published: the cursor did not move.
        ends.write(DATA + 28, 100);
        assert_eq!(ends.receive(mode), Ok(Some(64)));
        let Ends { mut own, socket, page, peer_socket, .. } = ends;
        drop(peer_socket);
        let mut link = own.link(socket.as_fd(), page.words(), mode);
        assert_eq!(link.receive(&mut [0; 64]), Ok(Some(36)));
        patiently(|| is_closed(link.receive(&mut [0; 64])).then_some(()));
        assert!(is_closed(link.receive(&mut [0; 64])));
    }
}

/// It moves the cursor with a plain write, so it does not notice that this side sleeps, and does
/// not wake it.
pub(crate) fn a_peer_that_wakes_nobody_is_heard_all_the_same() {
    for mode in MODES {
        let mut ends = Ends::new();
        let (mut link, words) = ends.link(mode);
        let offer = [7; 1500];
        thread::scope(|scope| {
            scope.spawn(|| {
                // Wait until this side sleeps, if it does. Nothing here may wake it.
                thread::sleep(Duration::from_millis(30));
                words[TAIL].store(512, Release);
                thread::sleep(Duration::from_millis(30));
                words[DATA].store(5, Relaxed);
                words[HEAD].store(16, Release);
            });
            let mut rest = 1500;
            while rest > 0 {
                rest -= patiently(|| link.send(&[&offer[..rest]]).unwrap());
            }
            assert_eq!(patiently(|| link.receive(&mut [0; 64]).unwrap()), 5);
        });
    }
}

/// The kernel repeatedly has no memory for a bell. Both sides are called as by loops that follow
/// the contract.
fn a_bell_finds_no_memory(mode: Option<Patience>) {
    let mut ends = Ends::new();
    let Ends { own, socket, page, peer, peer_socket } = &mut ends;
    let words = page.words();
    let mut left = own.link(socket.as_fd(), words, mode);
    let mut right = peer.link(peer_socket.as_fd(), words, None);
    assert_eq!(right.receive(&mut [0; 64]), Ok(None));
    refuse_at_first(libc::SYS_sendto, libc::ENOBUFS, 150);
    assert_eq!(left.send(&[b"bytes"]), Ok(Some(5)));
    patiently(|| {
        assert_eq!(left.receive(&mut [0; 64]), Ok(None));
        let mut watched = [Watched::new(peer_socket.as_fd(), Interest::Input)];
        let shows = wait(&mut watched, Some(Instant::PAST)).unwrap();
        assert!(shows || left.holds_input(), "this side would wait forever");
        shows.then_some(())
    });
    assert_eq!(right.receive(&mut [0; 64]), Ok(Some(5)));
    assert!(!left.holds_input());
}

pub(crate) fn repro_a_bell_that_finds_no_memory_comes_later() {
    a_bell_finds_no_memory(None);
}

/// Nothing calls this side again meanwhile.
pub(crate) fn repro_a_receive_that_waits_rings_where_there_was_no_memory() {
    a_bell_finds_no_memory(MODES[1]);
}

/// The bits that say how this side sleeps are set and cleared all the time.
pub(crate) fn bits_that_tell_of_sleepers_change_no_bytes() {
    const COUNT: usize = 20_000;
    let stream: Vec<u8> = (0..COUNT).map(|place| place.to_le_bytes()[0]).collect();
    for mode in MODES {
        let mut ends = Ends::new();
        let Ends { own, socket, page, peer, peer_socket } = &mut ends;
        let words = page.words();
        let (mut left, mut right) =
            (own.link(socket.as_fd(), words, mode), peer.link(peer_socket.as_fd(), words, None));
        let is_over = AtomicBool::new(false);
        let mut received = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = Random(5);
                while !is_over.load(Relaxed) {
                    let word = &words[[TAIL, HEAD, HEAD + TAIL][random.below(3)]];
                    let bits = u32::try_from(random.below(4)).unwrap();
                    _ = [word.fetch_or(bits, AcqRel), word.fetch_and(!bits, AcqRel)];
                }
            });
            let mut rest = &stream[..];
            patiently(|| {
                if let Some(len) = right.send(&[rest]).unwrap() {
                    rest = &rest[len..];
                }
                let mut space = [0; 100];
                while let Some(len) = left.receive(&mut space).unwrap() {
                    received.extend_from_slice(&space[..len]);
                    if mode.is_some() {
                        break;
                    }
                }
                // The resulting bells are taken with the input.
                _ = right.receive(&mut space).unwrap();
                (received.len() == COUNT).then_some(())
            });
            is_over.store(true, Relaxed);
        });
        assert!(received == stream, "wrong bytes");
    }
}

/// A peer that moves back and forth and makes no room: a waiting send fails instead of looping
/// forever.
pub(crate) fn a_peer_that_moves_and_makes_no_room_breaks_the_ring() {
    if thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
        cases::skip("a peer that moves during a call", "a second CPU");
    }
    let mut ends = Ends::new();
    while ends.link(None).0.send(&[&[1; 100]]).unwrap().is_some() {}
    let Ends { own, socket, page, .. } = &mut ends;
    let (words, is_over) = (page.words(), AtomicBool::new(false));
    let answer = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                // Eight bytes are not enough for a chunk.
                words[TAIL].store(8, Release);
                words[TAIL].store(0, Release);
            }
        });
        let mut link = own.link(socket.as_fd(), words, MODES[1]);
        let answer = link.send(&[&[1; 100]]);
        is_over.store(true, Relaxed);
        answer
    });
    assert_eq!(answer, Err(TransportError::BrokenRing));
}

/// Any word, any byte and any descriptor, at any time: each call returns, with any result, and no
/// descriptor is left.
pub(crate) fn whatever_a_peer_does_ends_in_bytes_or_an_error() {
    let (file, open) = (file(), fds::open().len());
    let (mut random, mut broken, mut bytes) = (Random(9), 0, 0);
    for round in 0..60_u32 {
        let mut ends = Ends::new();
        let Ends { own, socket, page, peer_socket, .. } = &mut ends;
        let (words, is_over) = (page.words(), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| strike(Random(100 + round), words, peer_socket, &file, &is_over));
            for _ in 0..300 {
                let mode = MODES[usize::from(random.below(30) == 0)];
                let offer = [1; 90];
                let len = random.below(offer.len());
                let (mut list, mut space) = (Fds::default(), [0; 300]);
                let answer = match random.below(3) {
                    0 => own.link(socket.as_fd(), words, None).send(&[&offer[..len]]),
                    1 => {
                        let count = random.below(4);
                        let fds = [file.as_fd(); 4];
                        let mut link = own.link(socket.as_fd(), words, None);
                        link.send_with(&[&offer[..len]], &fds[..count])
                    }
                    _ => {
                        let mut link = own.link(socket.as_fd(), words, mode);
                        let mut room = list.fds_up_to(random.below(5));
                        let received = link.receive_with(&mut space, &mut room);
                        received.map(|received| received.map(|received| received.len))
                    }
                };
                match answer {
                    Ok(len) => bytes += len.unwrap_or(0),
                    Err(error) => broken += i32::from(error == TransportError::BrokenRing),
                }
            }
            is_over.store(true, Relaxed);
        });
        drop(ends);
        assert_eq!(fds::open().len(), open);
    }
    drop(file);
    assert!(broken > 100 && bytes > 1000, "{broken} broken, {bytes} bytes");
}

fn strike(
    mut random: Random,
    words: &[AtomicU32],
    socket: &mut Stream,
    file: &OwnedFd,
    is_over: &AtomicBool,
) {
    let mut head = 0;
    while !is_over.load(Relaxed) {
        match random.below(8) {
            0 => {
                let place = [TAIL, HEAD, random.below(words.len())][random.below(3)];
                let value = u32::try_from(random.below(1 << 20)).unwrap();
                words[place].store([value, value * 8, value << 12][random.below(3)], Release);
            }
            1 => _ = socket.send(&[&b"bbbbfx"[random.below(6)..]]),
            2 => {
                let message = FDS | u8::try_from(random.below(4)).unwrap();
                _ = socket.send_with(&[&[message]], &[file.as_fd(); 3]);
            }
            3 => _ = socket.receive(&mut [0; 9]),
            // The cursor that an honest side would write, which makes room.
            _ => {
                let with_fds = if random.below(3) == 0 { WITH_FDS } else { 0 };
                words[DATA + head % 1024 / 4].store(8 | with_fds, Relaxed);
                head += 16;
                words[HEAD].store(u32::try_from(head).unwrap(), Release);
                words[TAIL].store(words[0].load(Relaxed), Release);
            }
        }
        thread::sleep(Duration::from_micros(20));
    }
}
