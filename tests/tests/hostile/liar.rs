//! A worker that serves honestly until a request asks for a lie.

#![expect(unsafe_code, reason = "a liar misuses its socket")]

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Release;
use std::time::Duration;

use ipc_frame::Kind;
use ipc_tests::fds;
use ipc_tests::wire::RawHeader;
use ipc_transport::{PassFds, Stream};
use ipc_worker::{Handler, Reason, Refusal, Reply, Request};
use rustix::fd::BorrowedFd;
use rustix::process::{Signal, getpid, kill_process};

use crate::{page, ring};

/// Returns the request's bytes and descriptors.
pub(crate) const ECHO: u16 = 1;
/// Replies, and then keeps writing to the shared page.
pub(crate) const SCRIBBLE: u16 = 2;
/// Sends for ever, one write after the other.
pub(crate) const FLOOD: u16 = 3;
/// Replies, also to every request that main may make next.
pub(crate) const GUESS: u16 = 5;
/// Returns the errors of its attempts to take the page away.
pub(crate) const REFUSED: u16 = 4;
/// The first lie of the list.
pub(crate) const LIES: u16 = 100;

/// What main must be told of a request whose handler lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// The reply, despite the lie.
    Reply,
    /// The reply, but the worker is gone afterwards.
    LastReply,
    Refused,
    /// The worker is gone, and the request is lost.
    Lost,
}

type Tell = fn(&mut Liar);

/// A lie, the outcome of its request, and the counters that it changes; all others stay zero.
pub(crate) struct Lie {
    pub(crate) name: &'static str,
    pub(crate) own: Own,
    pub(crate) counters: &'static [&'static str],
    tell: Tell,
}

const fn lie(name: &'static str, own: Own, counters: &'static [&'static str], tell: Tell) -> Lie {
    Lie { name, own, counters, tell }
}

const REPLY: RawHeader = raw(Kind::Reply);
const STRAY: &[&str] = &["stray_replies"];
const BROKEN: &[&str] = &["broken_frames"];
const OVERDUE: &[&str] = &["killed_overdue"];
/// Caught by the worker's behaviour, not its frames: main learns only of a death.
const DEATH: &[&str] = &[];

const fn raw(kind: Kind) -> RawHeader {
    let (len, flags, method, id, fd_count, reply_fds, fd_sequence) = (0, 0, 0, 0, 0, 0, 0);
    RawHeader { len, kind: kind as u8, flags, method, id, fd_count, reply_fds, fd_sequence }
}

/// How many notes a flood contains.
pub(crate) const NOTES: usize = 3000;

/// Returns every lie that can be told in the middle of honest work. Over the ring a lie is a
/// worker's last message.
pub(crate) fn all() -> impl Iterator<Item = &'static Lie> {
    let is_last = |lie: &Lie| !matches!(lie.own, Own::Reply | Own::Refused);
    let over_ring = cfg!(feature = "over-ring");
    let of_ring = OF_RING.iter().filter(move |_| over_ring);
    ALL.iter().filter(move |lie| !over_ring || is_last(lie)).chain(of_ring)
}

/// Lies that are possible only over a ring.
const OF_RING: &[Lie] = &[
    lie("a head beyond the ring", Own::Lost, BROKEN, |_| sleep_after(|| ring::skip(4104))),
    lie("a head before the tail", Own::Lost, BROKEN, |_| sleep_after(|| ring::skip(u32::MAX - 7))),
    lie("a head inside eight bytes", Own::Lost, BROKEN, |_| sleep_after(|| ring::skip(12))),
    lie("a length of nothing", Own::Lost, BROKEN, |_| sleep_after(|| ring::write_len(0))),
    lie("a length over the head", Own::Lost, BROKEN, |_| sleep_after(|| ring::write_len(9))),
    lie("a length of 2 GiB", Own::Lost, BROKEN, |_| sleep_after(|| ring::write_len(u32::MAX >> 1))),
    lie("a byte that means nothing", Own::Lost, BROKEN, |_| sleep_after(|| ring::say(b"x"))),
    lie("frames over the socket", Own::Lost, BROKEN, |_| sleep_after(|| ring::say(&REPLY.bytes()))),
    lie("descriptors for no bytes", Own::Lost, BROKEN, |it| {
        sleep_after(|| it.send_ahead(it.sent, &[fds::file().as_fd()]));
    }),
    lie("the descriptors of other bytes", Own::Lost, BROKEN, |it| {
        it.send_ahead(it.sent + 1, &[fds::file().as_fd()]);
        sleep_after(|| ring::write(&REPLY.bytes(), true));
    }),
    lie("bells for ever", Own::Lost, OVERDUE, |_| {
        loop {
            ring::say(b"b");
        }
    }),
    lie("a death inside a chunk", Own::Lost, DEATH, |_| {
        ring::write_len(8);
        ipc_barrier::exit(3);
    }),
];

const ALL: &[Lie] = &[
    lie("an id that was never given", Own::Reply, STRAY, |it| {
        it.say(RawHeader { id: u64::MAX, ..REPLY }, &[]);
    }),
    lie("the id of a request before", Own::Reply, STRAY, |it| {
        it.say(RawHeader { id: page::own_id() ^ 1 << 32, ..REPLY }, &[]);
    }),
    lie("the id of a slot that does not exist", Own::Reply, STRAY, |it| {
        it.say(RawHeader { id: page::own_id() + 4096, ..REPLY }, &[]);
    }),
    lie("a reply twice", Own::Reply, STRAY, |it| {
        it.say(RawHeader { id: page::own_id(), ..REPLY }, LYING);
    }),
    lie("a refusal, and then a reply", Own::Refused, STRAY, |it| {
        it.say(RawHeader { id: page::own_id(), ..raw(Kind::Refusal) }, &[0xff; 7]);
    }),
    lie("a report of a request that is not a one-way", Own::Reply, STRAY, |it| {
        it.say(RawHeader { id: page::own_id(), ..raw(Kind::Done) }, &[]);
    }),
    lie("a request to main", Own::Reply, STRAY, |it| {
        it.say(RawHeader { id: page::own_id(), ..raw(Kind::Request) }, &[]);
    }),
    lie("a one-way to main", Own::Reply, STRAY, |it| it.say(raw(Kind::OneWay), &[])),
    lie("ready again", Own::Reply, STRAY, |it| it.say(raw(Kind::Ready), &[1; 12])),
    lie("failed after it was ready", Own::Reply, STRAY, |it| it.say(raw(Kind::Failed), &[1; 12])),
    lie("a flood", Own::Reply, STRAY, |it| {
        for id in 0..3000 {
            it.say(RawHeader { id: id << 16 | 0x8000, ..REPLY }, &[7; 9]);
        }
    }),
    // Main cannot know how much credit the worker saw, so no counter changes.
    lie("a flood of notes without credit", Own::Reply, &[], |it| {
        for _ in 0..NOTES {
            it.say(RawHeader { id: u64::MAX, ..raw(Kind::Note) }, &[7; 9]);
        }
    }),
    lie("a note with a descriptor", Own::Lost, BROKEN, |it| {
        let fd_sequence = it.sent;
        it.give(RawHeader { fd_count: 1, fd_sequence, ..raw(Kind::Note) }, 1);
        sleep();
    }),
    lie("bytes that form no frame", Own::Lost, BROKEN, |it| it.write_and_sleep(&[0xee; 100])),
    lie("kind 0", Own::Lost, BROKEN, |it| it.broken(RawHeader { kind: 0, ..REPLY })),
    lie("kind 255", Own::Lost, BROKEN, |it| it.broken(RawHeader { kind: 255, ..REPLY })),
    lie("a flag", Own::Lost, BROKEN, |it| it.broken(RawHeader { flags: 1, ..REPLY })),
    lie("a method", Own::Lost, BROKEN, |it| it.broken(RawHeader { method: 1, ..REPLY })),
    lie("a length of 4 GiB", Own::Lost, BROKEN, |it| {
        it.broken(RawHeader { len: u32::MAX, ..REPLY })
    }),
    lie("a length over main's", Own::Lost, BROKEN, |it| {
        it.broken(RawHeader { len: 4096, ..REPLY })
    }),
    lie("254 descriptors", Own::Lost, BROKEN, |it| it.broken(RawHeader { fd_count: 254, ..REPLY })),
    lie("a sequence without descriptors", Own::Lost, BROKEN, |it| {
        it.broken(RawHeader { fd_sequence: 1, ..REPLY });
    }),
    lie("a sequence that is wrong", Own::Lost, BROKEN, |it| {
        let fd_sequence = it.sent + 1;
        it.give(RawHeader { id: page::own_id(), fd_count: 1, fd_sequence, ..REPLY }, 1);
        sleep();
    }),
    lie("more descriptors than allowed", Own::Lost, &["broken_frames", "stray_fds"], |it| {
        let fd_sequence = it.sent;
        it.give(RawHeader { id: page::own_id(), fd_count: 2, fd_sequence, ..REPLY }, 2);
        sleep();
    }),
    lie("descriptors for no request", Own::Reply, &["stray_replies", "stray_fds"], |it| {
        let fd_sequence = it.sent;
        it.give(RawHeader { id: u64::MAX, fd_count: 1, fd_sequence, ..REPLY }, 1);
    }),
    lie(
        "a descriptor that is not sent",
        Own::Reply,
        &["replies_without_fds", "stray_replies"],
        |it| {
            let fd_sequence = it.sent;
            it.say(RawHeader { id: page::own_id(), fd_count: 1, fd_sequence, ..REPLY }, LYING);
        },
    ),
    // A descriptor that no frame announces is closed but not counted.
    lie("a descriptor that is not announced", Own::Reply, STRAY, |it| {
        it.give(RawHeader { id: u64::MAX, ..REPLY }, 1);
    }),
    lie("silence", Own::Lost, OVERDUE, |_| sleep()),
    lie("half a header", Own::Lost, OVERDUE, |it| it.write_and_sleep(&REPLY.bytes()[..11])),
    lie("half a payload", Own::Lost, OVERDUE, |it| {
        it.write_and_sleep(&RawHeader { id: page::own_id(), len: 99, ..REPLY }.bytes());
    }),
    lie("half a frame, and the end", Own::Lost, DEATH, |it| {
        it.write(&RawHeader { id: page::own_id(), len: 99, ..REPLY }.bytes());
        ipc_barrier::exit(3);
    }),
    lie("a stop", Own::Lost, OVERDUE, |_| kill_process(getpid(), Signal::STOP).unwrap()),
    lie("an end of the socket, but not of the worker", Own::Lost, DEATH, |_| {
        let null = File::open("/dev/null").unwrap();
        // SAFETY: the number belongs to its socket, which nothing else in the process closes.
        unsafe { libc::dup2(null.as_raw_fd(), fds::own_socket().as_raw_fd()) };
        sleep();
    }),
    lie("half an end of the socket", Own::Lost, DEATH, |_| {
        rustix::net::shutdown(fds::own_socket(), rustix::net::Shutdown::Write).unwrap();
        sleep();
    }),
    lie("its socket handed to a child", Own::Lost, DEATH, |_| {
        ipc_tests::forked::forked(sleep);
        ipc_barrier::exit(3);
    }),
    lie("its socket handed to main", Own::LastReply, DEATH, |it| {
        let header = RawHeader { id: page::own_id(), fd_count: 1, fd_sequence: it.sent, ..REPLY };
        it.send(header, LYING, &[fds::own_socket()]);
        ipc_barrier::exit(3);
    }),
    lie("an invalid word, and the end", Own::Lost, &["broken_words"], |_| {
        page::own_word().store(7, Release);
        ipc_barrier::exit(3);
    }),
    lie("a page of zeroes, and the end", Own::Lost, &["broken_words"], |_| {
        page::words().iter().for_each(|word| word.store(0, Release));
        ipc_barrier::exit(3);
    }),
];

/// What a worker sends instead of becoming ready. The last one is an honest beginning, cut short.
pub(crate) const FIRST: &[(&str, Tell)] = &[
    ("bytes that form no frame", |it| it.write_and_sleep(&[0xee; 100])),
    ("a reply", |it| it.broken(REPLY)),
    ("another version", |it| {
        it.say(raw(Kind::Ready), &[9; 12]);
        sleep();
    }),
    ("sizes that are missing", |it| it.broken(raw(Kind::Ready))),
    ("half a frame", |it| it.write_and_sleep(&raw(Kind::Ready).bytes()[..11])),
];

/// The file that makes the next worker lie before it is ready; it contains the lie's number.
pub(crate) const FIRST_FILE: &str = "first";

/// The reply to a request for a lie.
pub(crate) const LYING: &[u8] = b"lying";

fn sleep() {
    std::thread::sleep(Duration::from_secs(600));
}

fn sleep_after(tell: impl FnOnce()) {
    tell();
    sleep();
}

/// The handler.
pub(crate) struct Liar {
    home: PathBuf,
    /// The errors of its attempts to take the shared page away from main.
    refused: Vec<i32>,
    /// Descriptors sent in its replies.
    sent: u32,
    /// Whether main uses the ring.
    over_ring: bool,
}

impl Liar {
    pub(crate) fn new(home: impl Into<PathBuf>) -> Self {
        Self::refused(home, Vec::new())
    }

    /// A handler that has tried to take the page away.
    pub(crate) fn refused(home: impl Into<PathBuf>, refused: Vec<i32>) -> Self {
        Self { home: home.into(), refused, sent: 0, over_ring: false }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.over_ring {
            return bytes.chunks(1000).for_each(|piece| ring::write(piece, false));
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let Ok(len) = rustix::io::write(fds::own_socket(), rest) else { ipc_barrier::exit(0) };
            rest = &rest[len..];
        }
    }

    fn write_and_sleep(&mut self, bytes: &[u8]) {
        self.write(bytes);
        sleep();
    }

    fn broken(&mut self, header: RawHeader) {
        self.write_and_sleep(&header.bytes());
    }

    /// Sends a frame with the right length.
    fn say(&mut self, header: RawHeader, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap();
        let frame = [&RawHeader { len, ..header }.bytes(), payload].concat();
        self.write(&frame);
    }

    fn send(&mut self, header: RawHeader, payload: &[u8], fds: &[BorrowedFd<'_>]) {
        let header = RawHeader { len: u32::try_from(payload.len()).unwrap(), ..header };
        if self.over_ring {
            self.send_ahead(self.sent, fds);
            return ring::write(&[&header.bytes(), payload].concat(), true);
        }
        self.send_over_socket(&[&header.bytes(), payload], fds);
    }

    /// Sends the descriptors of the chunk with that number. Each honest reply with descriptors has
    /// one, in one chunk.
    fn send_ahead(&mut self, number: u32, fds: &[BorrowedFd<'_>]) {
        self.send_over_socket(&[&[ring::FDS | number.to_le_bytes()[0]]], fds);
    }

    fn send_over_socket(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) {
        let mut stream = Stream::from(fds::own_socket().try_clone_to_owned().unwrap());
        stream.blocking().send_with(pieces, fds).unwrap();
    }

    /// Sends a frame with `count` descriptors, whatever its header says.
    fn give(&mut self, header: RawHeader, count: usize) {
        let null = File::open("/dev/null").unwrap();
        self.send(header, &[], &vec![null.as_fd(); count]);
    }

    /// Replies to its request and to all that may follow, at once.
    fn guess(&mut self) {
        let answer = |id| RawHeader { id, ..REPLY }.bytes();
        let guesses = page::unused_ids().map(answer);
        let frames: Vec<u8> =
            [answer(page::own_id())].into_iter().chain(guesses).flatten().collect();
        self.write(&frames);
    }

    fn flood(&mut self) -> ! {
        let stray = RawHeader { id: u64::MAX, ..REPLY }.bytes().repeat(2000);
        loop {
            self.write(&stray);
        }
    }
}

impl Handler for Liar {
    fn prepare(&mut self) -> Result<(), Reason> {
        let file = self.home.join(FIRST_FILE);
        if let Ok(number) = fs::read_to_string(&file) {
            // The next worker is honest.
            fs::remove_file(file)?;
            let (_, tell) = FIRST[number.parse::<usize>().unwrap()];
            tell(self);
        }
        Ok(())
    }

    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        self.over_ring = cfg!(feature = "over-ring");
        match request.method() {
            ECHO => {
                reply.put(request.bytes())?;
                while let Some(fd) = request.take_fd() {
                    reply.put_fd(fd)?;
                    self.sent += 1;
                }
                Ok(())
            }
            SCRIBBLE => {
                let seed = u32::from_le_bytes(request.bytes().try_into().unwrap());
                std::thread::spawn(move || page::scribble(seed.into()));
                Ok(())
            }
            FLOOD => self.flood(),
            GUESS => {
                self.guess();
                Ok(())
            }
            REFUSED => self.refused.iter().try_for_each(|errno| reply.put(&errno.to_le_bytes())),
            method => {
                (all().nth(usize::from(method - LIES)).unwrap().tell)(self);
                reply.put(LYING)
            }
        }
    }

    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [].into_iter()
    }
}
