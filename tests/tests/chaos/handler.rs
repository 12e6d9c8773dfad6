//! The worker's side: it records what it does, and crashes on request.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipc_tests::fds;
use ipc_worker::{Handler, Reason, Refusal, Reply, Request};
use rustix::fd::BorrowedFd;
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::record::{self, Record, What};

/// Replies with its number and its filler.
pub(crate) const ECHO: u16 = 1;
pub(crate) const SLOW: u16 = 2;
pub(crate) const REFUSE: u16 = 3;
/// Replies with pipes, each of which contains the request's number.
pub(crate) const PIPES: u16 = 4;
pub(crate) const PANIC: u16 = 5;
pub(crate) const ABORT: u16 = 6;
pub(crate) const EXIT: u16 = 7;
/// Runs until it is cancelled.
pub(crate) const SLOTH: u16 = 8;
/// Never returns.
pub(crate) const STUCK: u16 = 9;

/// The code of a refusal.
pub(crate) const REFUSED: i32 = 42;

/// The head of a request: its number, how many descriptors it has, how many its reply must have,
/// how many milliseconds it takes, and a filler byte. The ids of the descriptors' files follow.
pub(crate) const HEAD: usize = 8;

/// While this file is missing, no worker becomes ready.
pub(crate) fn gate(home: &Path) -> PathBuf {
    home.join("gate")
}

/// Lets workers become ready.
pub(crate) fn open_gate(home: &Path) {
    File::create(gate(home)).unwrap();
}

/// Records what it begins and what it ends.
pub(crate) struct Recorder {
    home: PathBuf,
    file: Option<File>,
}

impl Recorder {
    pub(crate) fn new(home: &Path) -> Self {
        Self { home: home.into(), file: None }
    }

    fn record(&self, number: u32, what: What) {
        let pid = std::process::id();
        record::add(self.file.as_ref().unwrap(), Record { number, what, pid });
    }

    /// Checks that the request has exactly its own descriptors, in order.
    fn has_its_files(request: &mut Request<'_>, files: &[u8]) -> bool {
        files.chunks(8).all(|id| {
            let id = u64::from_le_bytes(id.try_into().unwrap());
            request.take_fd().is_some_and(|fd| fds::id_of(fd) == id)
        }) && request.take_fd().is_none()
    }
}

impl Handler for Recorder {
    fn prepare(&mut self) -> Result<(), Reason> {
        // Intended crashes print nothing and leave no core dump.
        std::panic::set_hook(Box::new(|_| ()));
        _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
        fs::metadata(gate(&self.home))?;
        self.file = Some(record::open(&self.home)?);
        self.record(0, What::Born);
        Ok(())
    }

    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        let (head, rest) = request.bytes().split_first_chunk::<HEAD>().unwrap();
        let &[n0, n1, n2, n3, fd_count, reply_fds, pause, filler] = head;
        let (number, pause) =
            (u32::from_le_bytes([n0, n1, n2, n3]), Duration::from_millis(pause.into()));
        self.record(number, What::Begun);
        let (files, rest) = rest.split_at(8 * usize::from(fd_count));
        if !Self::has_its_files(request, files) || rest.iter().any(|&byte| byte != filler) {
            self.record(number, What::Wrong);
        }
        reply.put(&number.to_le_bytes())?;
        match request.method() {
            ECHO => reply.put(rest)?,
            SLOW => std::thread::sleep(pause),
            PIPES => {
                for _ in 0..reply_fds {
                    let (output, input) = rustix::pipe::pipe()?;
                    File::from(input).write_all(&number.to_le_bytes())?;
                    reply.put_fd(output)?;
                }
            }
            PANIC => panic!("on purpose"),
            ABORT => std::process::abort(),
            EXIT => ipc_barrier::exit(3),
            SLOTH => {
                while !request.is_cancelled() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            STUCK => std::thread::sleep(Duration::from_secs(600)),
            _ => {}
        }
        self.record(number, What::Ended);
        match request.method() {
            REFUSE => Err(Refusal::new(REFUSED, "not today")),
            _ => Ok(()),
        }
    }

    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [].into_iter()
    }
}
