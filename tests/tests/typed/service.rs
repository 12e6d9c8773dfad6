//! The services that the cases call.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_worker::{Event, Instant, Outcome, Reason, Refusal, ReplyView, Request, Worker};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A part of a request that is borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line<'a> {
    pub(crate) number: u64,
    pub(crate) text: &'a str,
}

/// One of everything that serde supports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Everything {
    pub(crate) truth: bool,
    pub(crate) small: i8,
    pub(crate) large: u128,
    pub(crate) real: f64,
    pub(crate) letter: char,
    pub(crate) maybe: Option<Box<Everything>>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) map: std::collections::BTreeMap<String, (u16, [i64; 3])>,
    pub(crate) nothing: (),
}

/// One value of each form of enum variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Unit,
    Newtype(String),
    Tuple(i32, bool),
    Struct { at: i64 },
}

/// A value that fails to serialize.
#[derive(Debug, Deserialize)]
pub(crate) struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("on purpose"))
    }
}

/// A text that grows each time it is serialized.
#[derive(Debug, Default)]
pub(crate) struct Growing(std::cell::Cell<usize>);

impl Serialize for Growing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.set(self.0.get() + 10);
        serializer.serialize_str(&"x".repeat(self.0.get()))
    }
}

impl<'de> Deserialize<'de> for Growing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&str>::deserialize(deserializer).map(|text| Self(text.len().into()))
    }
}

/// The length of an array.
const PAIR: usize = 2;

ipc_worker::service! {
    /// What the worker does in the tests.
    pub(crate) mod disk {
        /// Appends a line to the file, and returns the file's length.
        1 => fn append(line: Line<'_>, fds: [OwnedFd; 1]) -> u64;
        2 => fn all(value: Everything, pair: (u8, i16)) -> (Everything, (u8, i16));
        3 => fn nothing();
        /// A text cut from one and joined to another, borrowed from the server.
        4 => fn joined(first: &str, second: &[u8], at: u32) -> &str;
        5 => fn sockets(text: &str,) -> (usize, [OwnedFd; PAIR]);
        6 => fn refuse(code: i32) -> u8;
        7 => fn long(len: usize) -> Vec<u8>;
        8 => fn unwritable() -> Unwritable;
        9 => fn take(value: Unwritable);
        10 => fn sleep_ms(time: u64);
        11 => fn asked() -> u64;
        12 => fn exit(fds: [OwnedFd; 0]);
        13 => fn counted() -> usize;
        14 => fn grow(value: Growing) -> Growing;
        /// Writes `b` when it begins, and `c` if it is cancelled in time.
        15 => fn patient(request: &Request<'_>, time_ms: u64, fds: [OwnedFd; 1]);
        16 => fn is_resent(request: &Request<'_>) -> bool, quick;
        /// A tuple with an array, which must not be taken for a result with descriptors.
        17 => fn pair(value: u8) -> (u8, [u8; PAIR]), again UntilAnswered;
        18 => fn die(), again UntilDone, tries 2, slow;
    }
}

/// A service next to names that hide those of the prelude.
#[expect(dead_code, reason = "these names exist only to cause conflicts")]
pub(crate) mod crowded {
    use super::Request;
    type Result<T> = std::result::Result<T, ()>;
    pub(crate) struct Option;
    pub(crate) struct Ok;
    pub(crate) struct Err;
    pub(crate) type Some = ();
    pub(crate) mod core {}
    pub(crate) mod ipc_worker {}
    pub(crate) trait Handler {}
    /// A name that the macro uses itself.
    #[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    pub(crate) struct Longest(pub(crate) u8);
    pub(crate) type Lengths = u8;

    ::ipc_worker::service! {
        pub(crate) mod echo {
            100 => fn echo(value: i64) -> i64;
            /// Its arguments have the names of generated items.
            101 => fn call(worker: Longest, tag: Lengths, request: u8, reply: u8) -> Longest;
            102 => fn args(serve: &str, args: u8, result: (), message: &[u8]) -> u8;
            103 => fn result(dispatch: u8, call: u8);
            #[deprecated]
            104 => fn serve();
            105 => fn dispatch(request: &Request<'_>, number: u8);
            /// Not part of this program.
            #[cfg(any())]
            106 => fn absent(value: NoSuchType) -> NoSuchType;
        }
    }
}

pub(crate) use crowded::{Longest, echo};

/// The server.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) joined: String,
    /// How many methods were called.
    pub(crate) asked: u64,
    pub(crate) settled: Option<OwnedFd>,
}

impl disk::Serve for Disk {
    fn prepare(&mut self) -> Result<(), Reason> {
        self.joined.push_str("prepared: ");
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Refusal> {
        if let Some(fd) = &self.settled {
            rustix::io::write(fd, b"s")?;
        }
        Ok(())
    }

    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.settled.iter().map(AsFd::as_fd)
    }

    fn append(&mut self, line: Line<'_>, [fd]: [OwnedFd; 1]) -> Result<u64, Refusal> {
        self.asked += 1;
        let mut file = File::from(fd);
        writeln!(file, "{} {}", line.number, line.text)?;
        Ok(file.metadata()?.len())
    }

    fn all(
        &mut self,
        value: Everything,
        pair: (u8, i16),
    ) -> Result<(Everything, (u8, i16)), Refusal> {
        self.asked += 1;
        Ok((value, pair))
    }

    fn nothing(&mut self) -> Result<(), Refusal> {
        self.asked += 1;
        Ok(())
    }

    fn joined(&mut self, first: &str, second: &[u8], at: u32) -> Result<&str, Refusal> {
        self.asked += 1;
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        self.joined.push_str(first.get(..at).ok_or(Refusal::new(5, "no such place"))?);
        self.joined.push_str(&String::from_utf8_lossy(second));
        Ok(&self.joined)
    }

    fn sockets(&mut self, text: &str) -> Result<(usize, [OwnedFd; 2]), Refusal> {
        self.asked += 1;
        let (mut ours, theirs) = UnixStream::pair()?;
        ours.write_all(text.as_bytes())?;
        Ok((text.len(), [ours.into(), theirs.into()]))
    }

    fn refuse(&mut self, code: i32) -> Result<u8, Refusal> {
        self.asked += 1;
        Err(Refusal::new(code, "not today"))
    }

    fn long(&mut self, len: usize) -> Result<Vec<u8>, Refusal> {
        self.asked += 1;
        Ok(vec![7; len.min(1 << 20)])
    }

    fn unwritable(&mut self) -> Result<Unwritable, Refusal> {
        self.asked += 1;
        Ok(Unwritable)
    }

    fn take(&mut self, _: Unwritable) -> Result<(), Refusal> {
        self.asked += 1;
        Ok(())
    }

    fn sleep_ms(&mut self, time: u64) -> Result<(), Refusal> {
        self.asked += 1;
        std::thread::sleep(Duration::from_millis(time));
        Ok(())
    }

    fn asked(&mut self) -> Result<u64, Refusal> {
        Ok(self.asked)
    }

    fn exit(&mut self, []: [OwnedFd; 0]) -> Result<(), Refusal> {
        ipc_barrier::exit(3)
    }

    fn grow(&mut self, value: Growing) -> Result<Growing, Refusal> {
        self.asked += 1;
        Ok(value)
    }

    fn patient(
        &mut self,
        request: &Request<'_>,
        time_ms: u64,
        [fd]: [OwnedFd; 1],
    ) -> Result<(), Refusal> {
        rustix::io::write(&fd, b"b")?;
        let until = Instant::now() + Duration::from_millis(time_ms);
        while Instant::now() < until {
            if request.is_cancelled() {
                rustix::io::write(&fd, b"c")?;
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn is_resent(&mut self, request: &Request<'_>) -> Result<bool, Refusal> {
        Ok(request.is_resent())
    }

    fn pair(&mut self, value: u8) -> Result<(u8, [u8; 2]), Refusal> {
        Ok((value, [value, 0]))
    }

    fn die(&mut self) -> Result<(), Refusal> {
        ipc_barrier::exit(3)
    }

    fn counted(&mut self) -> Result<usize, Refusal> {
        Ok(ipc_tests::counting::Counting::count())
    }
}

/// Another service by the same server.
impl echo::Serve for Disk {
    fn echo(&mut self, value: i64) -> Result<i64, Refusal> {
        Ok(value)
    }

    fn call(&mut self, worker: Longest, _: u8, _: u8, _: u8) -> Result<Longest, Refusal> {
        Ok(worker)
    }

    fn args(&mut self, _: &str, args: u8, (): (), _: &[u8]) -> Result<u8, Refusal> {
        Ok(args)
    }

    fn result(&mut self, _: u8, _: u8) -> Result<(), Refusal> {
        Ok(())
    }

    fn serve(&mut self) -> Result<(), Refusal> {
        Ok(())
    }

    fn dispatch(&mut self, request: &Request<'_>, _: u8) -> Result<(), Refusal> {
        Err(Refusal::new(i32::from(request.method()), ""))
    }
}

/// Serves two services at once.
pub(crate) fn both(
    disk: &mut Disk,
    request: &mut Request<'_>,
    reply: &mut ipc_worker::Reply<'_>,
) -> Result<(), Refusal> {
    match request.method() {
        100.. => echo::dispatch(disk, request, reply),
        _ => disk::dispatch(disk, request, reply),
    }
}

/// A worker for the first service.
pub(crate) type Typed<L> = Worker<u32, L>;

/// The handler of the first service.
pub(crate) type Served = disk::Server<Disk>;

/// Waits for the next outcome and passes it to the closure.
pub(crate) fn outcome<L: ipc_worker::Launch, R, const S: usize, const B: usize>(
    worker: &mut Worker<u32, L, S, B>,
    mut read: impl FnMut(Outcome<'_>) -> R,
) -> R {
    use ipc_transport::{Interest, Watched, wait};
    use std::os::fd::AsFd;
    let limit = ipc_tests::forked::soon();
    loop {
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            if let Event::Done { outcome, .. } = event {
                return read(outcome);
            }
        }
        assert!(Instant::now() < limit, "no outcome in time");
        let deadline = worker.next_deadline().map_or(limit, |next| next.min(limit));
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(deadline)).unwrap();
    }
}

/// Waits for the next outcome, which must be a reply.
pub(crate) fn reply<L: ipc_worker::Launch, R, const S: usize, const B: usize>(
    worker: &mut Worker<u32, L, S, B>,
    mut read: impl FnMut(ReplyView<'_>) -> R,
) -> R {
    outcome(worker, |outcome| match outcome {
        Outcome::Reply(reply) => read(reply),
        other => panic!("{other:?}"),
    })
}

/// Waits for the next outcome, which must be a refusal.
pub(crate) fn refusal<L: ipc_worker::Launch, const S: usize, const B: usize>(
    worker: &mut Worker<u32, L, S, B>,
) -> Refusal {
    outcome(worker, |outcome| match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    })
}

/// Reads a file from its start.
pub(crate) fn text(file: &mut File) -> String {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}
