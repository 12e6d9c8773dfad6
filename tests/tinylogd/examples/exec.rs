//! A static program without a C library that starts itself as its worker, by exec.
//!
//! It exits with 0, or with the number of the step that failed.

#![no_std]
#![no_main]

#[path = "../src/start.rs"]
mod start;

use core::time::Duration;

use ipc_worker::{
    Call, Ended, Event, Instant, Outcome, Refusal, Reply, Request, Start, Worker, serve_as,
};

const SLOTS: usize = 8;
const BYTES: usize = 4096;

/// The time limit for the whole program.
const LIMIT: Duration = Duration::from_secs(20);

const ECHO: u16 = 1;
const DIE: u16 = 2;
const TEXT: &[u8] = b"through an exec";

/// The step that failed; the exit status is its number.
#[derive(Clone, Copy)]
enum Failed {
    Start = 1,
    Call,
    Reply,
    Death,
    Stop,
}

fn main(mut arguments: start::Strings, _environment: start::Strings) -> i32 {
    // After the program's name.
    if let Some(argument) = arguments.nth(1) {
        serve_as::<_, SLOTS, BYTES>(argument, || Ok(handle));
    }
    ask_and_kill().map_or_else(|failed| failed as i32, |()| 0)
}

fn ask_and_kill() -> Result<(), Failed> {
    let deadline = Instant::now() + LIMIT;
    let Ok(mut worker) = Start::exec_self().map_err(Into::into).and_then(Worker::start) else {
        return Err(Failed::Start);
    };
    ask(&mut worker, deadline)?;
    let mut has_died = false;
    let called = worker.call_until(Call::new(DIE, &[]), (), deadline, |event| {
        has_died |= matches!(event, Event::Died(Ended::Exited(3)));
    });
    called.map_err(|_| Failed::Call)?;
    if !has_died {
        return Err(Failed::Death);
    }
    ask(&mut worker, deadline)?;
    match worker.stop(deadline, |_| {}) {
        Some(Ended::Exited(0)) => Ok(()),
        _ => Err(Failed::Stop),
    }
}

fn ask(
    worker: &mut Worker<(), ipc_worker::Exec<'_>, SLOTS, BYTES>,
    deadline: Instant,
) -> Result<(), Failed> {
    let mut is_answered = false;
    let called = worker.call_until(Call::new(ECHO, &[TEXT]), (), deadline, |event| {
        if let Event::Done { outcome: Outcome::Reply(reply), .. } = event {
            is_answered = reply.bytes() == TEXT;
        }
    });
    called.map_err(|_| Failed::Call)?;
    if is_answered { Ok(()) } else { Err(Failed::Reply) }
}

fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    match request.method() {
        ECHO => reply.put(request.bytes()),
        _ => ipc_barrier::exit(3),
    }
}
