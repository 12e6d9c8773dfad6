//! A static program without a C library, a heap or unwinding. It sends frames, then forks a worker
//! and calls it with a descriptor.
//!
//! It exits with 0, or with the number of the step that failed.

#![no_std]
#![no_main]

#[path = "../src/start.rs"]
mod start;

use core::time::Duration;

use ipc_barrier::Ended;
use ipc_frame::{Decoder, Header, Queue};
use ipc_transport::{Instant, Interest, Watched, wait};
use ipc_worker::{Call, Event, Outcome, Refusal, Reply, Request, Start, Worker};
use rustix::fd::{AsFd, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};

const SLOTS: usize = 8;
const BYTES: usize = 4096;

/// The time limit for the whole program.
const LIMIT: Duration = Duration::from_secs(20);

const WRITE: u16 = 1;
const TEXT: &[u8] = b"through the descriptor";

/// The step that failed; the exit status is its number.
#[derive(Clone, Copy)]
enum Failed {
    Frame = 1,
    Pipe,
    Start,
    Call,
    Reply,
    Bytes,
    Stop,
}

fn main(_arguments: start::Strings, _environment: start::Strings) -> i32 {
    let done = frame().and_then(|()| ask(Instant::now() + LIMIT));
    done.map_or_else(|failed| failed as i32, |()| 0)
}

/// Sends a frame from a queue to a decoder. Neither this nor the next step is inlined: their
/// buffers should share the same stack space.
#[inline(never)]
fn frame() -> Result<(), Failed> {
    let mut queue = Queue::<BYTES, SLOTS>::new();
    let mut decoder = Decoder::<BYTES>::new();
    let header = Header::request(WRITE, 1);
    queue.push(header, &[TEXT]).map_err(|_| Failed::Frame)?;
    queue.send_with(|pieces, _| {
        let mut len = 0;
        for piece in pieces {
            let space = decoder.space().get_mut(..piece.len()).ok_or(Failed::Frame)?;
            space.copy_from_slice(piece);
            decoder.filled(piece.len());
            len += piece.len();
        }
        Ok(Some(len))
    })?;
    match decoder.next_frame() {
        Ok(Some(frame)) if frame.payload() == TEXT => Ok(()),
        _ => Err(Failed::Frame),
    }
}

/// Starts a worker, lets it write to a pipe that it receives, and stops it.
#[expect(unsafe_code, reason = "the worker is forked by the raw call")]
#[inline(never)]
fn ask(deadline: Instant) -> Result<(), Failed> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(|_| Failed::Pipe)?;
    // SAFETY: this program has no C library and one thread, and starts none.
    let start = unsafe { Start::fork_raw(write) };
    // Not with `map_err`, which would hold the worker's buffers twice.
    let Ok(mut worker) = Worker::<(), _, SLOTS, BYTES>::start(start) else {
        return Err(Failed::Start);
    };

    let mut answered = false;
    let fds = [writer.as_fd()];
    let call = Call::new(WRITE, &[TEXT]).fds(&fds);
    let called = worker.call_until(call, (), deadline, |event| {
        if let Event::Done { outcome: Outcome::Reply(reply), .. } = event {
            answered = reply.bytes() == TEXT.len().to_le_bytes();
        }
    });
    called.map_err(|_| Failed::Call)?;
    if !answered {
        return Err(Failed::Reply);
    }
    read(&reader, deadline)?;

    match worker.stop(deadline, |_| {}) {
        Some(Ended::Exited(0)) => Ok(()),
        _ => Err(Failed::Stop),
    }
}

/// The worker: writes the request's bytes to its descriptor and replies with their count.
fn write(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    let Some(fd) = request.take_fd().filter(|_| request.method() == WRITE) else {
        return Err(Refusal::UNKNOWN_METHOD);
    };
    let len = rustix::io::write(&fd, request.bytes())?;
    reply.put(&len.to_le_bytes())
}

/// Reads what the worker wrote.
fn read(reader: &OwnedFd, deadline: Instant) -> Result<(), Failed> {
    let mut text = [0; TEXT.len()];
    let ready = wait(&mut [Watched::new(reader.as_fd(), Interest::Input)], Some(deadline));
    match (ready, rustix::io::read(reader, &mut text)) {
        (Ok(true), Ok(_)) if text == TEXT => Ok(()),
        _ => Err(Failed::Bytes),
    }
}
