//! tokio's AsyncFd on one thread. A worker is killed while requests are in flight; the next one
//! continues.

#![expect(unsafe_code, reason = "tokio needs a promise that the descriptor stays open")]

use std::error::Error;
use std::os::fd::{AsFd, AsRawFd};
use std::thread::sleep;
use std::time::Duration;

use ipc_worker::{Call, Event, Instant, Outcome, Refusal, Reply, Request, Start, Worker};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{Interest, unix::AsyncFd};

const REQUESTS: usize = 6;

/// Runs in the worker process, and may block.
fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    sleep(Duration::from_millis(50));
    reply.put(request.bytes())
}

fn main() -> Result<(), Box<dyn Error>> {
    // By fork, which works only while nothing starts a thread: no spawn_blocking, no tokio::fs, no
    // name lookup. Otherwise start by exec, as the example `threads` does.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut worker = Worker::<usize, _>::start(Start::fork(handle))?;
    let fd = worker.as_fd().as_raw_fd();
    // SAFETY: it is dropped before the worker, which keeps this descriptor for its whole life.
    let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? };
    for tag in 0..REQUESTS {
        worker.try_call(Call::new(1, &[b"some work"]), tag)?;
    }
    // Each request needs an outcome. The worker must also die, and be replaced.
    let (mut outcomes, mut died, mut started) = (Vec::new(), false, false);
    let limit = Instant::now() + Duration::from_secs(60);
    while !(outcomes.len() >= REQUESTS && died && started) && Instant::now() < limit {
        let patience = worker.next_deadline().unwrap_or(limit).min(limit).since(Instant::now());
        let ready = tokio::time::timeout(patience, fd.readable()).await;
        worker.turn(Instant::now());
        // tokio reports readiness only once. Clear it only if nothing is left.
        let mut left = [PollFd::new(&worker, PollFlags::IN)];
        if let (Ok(ready), 0) = (ready, poll(&mut left, Some(&Timespec::default()))?) {
            ready?.clear_ready();
        }
        let pid = worker.pid().and_then(Pid::from_raw);
        while let Some(event) = worker.next_event() {
            match event {
                Event::Done { tag, outcome } => {
                    match outcome {
                        Outcome::Reply(_) => println!("request {tag}: a reply"),
                        other => println!("request {tag}: {other:?}"),
                    }
                    if let (true, Some(pid)) = (outcomes.is_empty(), pid) {
                        kill_process(pid, Signal::KILL)?;
                    }
                    outcomes.push(tag);
                }
                Event::Died(ended) => {
                    println!("the worker ended: {ended}");
                    died = true;
                }
                Event::Started { resent } => {
                    println!("a new worker: {resent} requests are sent again");
                    started = true;
                }
                Event::GaveUp(reason) => return Err(reason.into()),
                _ => {}
            }
        }
    }
    outcomes.sort_unstable();
    if !outcomes.into_iter().eq(0..REQUESTS) || !died || !started {
        return Err("an outcome, the death or the restart is missing".into());
    }
    println!("every request has had one outcome");
    Ok(())
}
