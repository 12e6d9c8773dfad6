//! A daemon on tokio's multi-threaded runtime. Its worker is the same program, started by exec, so
//! it can be started and restarted while any number of threads run. Here it is killed while
//! requests are in flight.

#![expect(unsafe_code, reason = "tokio needs a promise that the descriptor stays open")]

use std::error::Error;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use ipc_worker::{Call, Event, Instant, Outcome, Refusal, Reply, Request, Start, Worker};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{Interest, unix::AsyncFd};

const REQUESTS: usize = 6;

/// Runs in the worker process, and may block.
fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    std::thread::sleep(Duration::from_millis(50));
    reply.put(request.bytes())
}

fn main() -> Result<(), Box<dyn Error>> {
    // Before anything else, and before any other thread starts.
    if ipc_worker::is_worker() {
        ipc_worker::serve::<_, 64, 32768>(|| Ok(handle));
    }
    daemon()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn daemon() -> Result<(), Box<dyn Error>> {
    // Other work, in other threads.
    tokio::spawn(async {
        loop {
            tokio::task::spawn_blocking(|| std::fs::read("/proc/self/status")).await.ok();
        }
    });
    let mut worker = Worker::<usize, _>::start(Start::exec_self()?)?;
    let fd = worker.as_fd().as_raw_fd();
    // SAFETY: it is dropped before the worker, which keeps this descriptor for its whole life.
    let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? };
    for tag in 0..REQUESTS {
        worker.try_call(Call::new(1, &[b"some work"]), tag)?;
    }
    let (mut outcomes, mut started) = (0, false);
    while outcomes < REQUESTS || !started {
        let now = Instant::now();
        let patience = worker.next_deadline().map_or(Duration::from_secs(5), |at| at.since(now));
        if let Ok(ready) = tokio::time::timeout(patience, fd.readable()).await {
            // Later news will make it ready again. The loop below takes what is there now.
            ready?.clear_ready();
        }
        let mut has_more = true;
        while has_more {
            has_more = worker.turn(Instant::now());
            let pid = worker.pid().and_then(Pid::from_raw);
            while let Some(event) = worker.next_event() {
                match event {
                    Event::Done { tag, outcome } => {
                        let is_reply = matches!(outcome, Outcome::Reply(_));
                        println!("request {tag}: {}", if is_reply { "a reply" } else { "lost" });
                        if let (0, Some(pid)) = (outcomes, pid) {
                            kill_process(pid, Signal::KILL)?;
                        }
                        outcomes += 1;
                    }
                    Event::Died(ended) => println!("the worker ended: {ended}"),
                    Event::Started { resent } => {
                        println!("a new worker: {resent} requests are sent again");
                        started = true;
                    }
                    other => return Err(format!("{other:?}").into()),
                }
            }
        }
    }
    println!("every request has had one outcome");
    Ok(())
}
