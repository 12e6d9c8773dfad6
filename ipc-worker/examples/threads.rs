//! A daemon on tokio's multi-threaded runtime. Its worker is this program, started again, so that
//! any number of threads may run when it starts and restarts: it is killed amid its requests.

#![expect(unsafe_code, reason = "tokio wants a promise about what it watches")]

use std::error::Error;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use ipc_worker::{Call, Event, Instant, Outcome, Refusal, Reply, Request, Start, Worker};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{Interest, unix::AsyncFd};

const REQUESTS: usize = 6;

/// Runs in the worker process, and takes its time.
fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    std::thread::sleep(Duration::from_millis(50));
    reply.put(request.bytes())
}

fn main() -> Result<(), Box<dyn Error>> {
    // Before anything else, and before there is any other thread.
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
    // SAFETY: it goes before the worker does, whose descriptor is the same for its whole life.
    let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? };
    for tag in 0..REQUESTS {
        worker.try_call(Call::new(1, &[b"some work"]), tag)?;
    }
    let (mut outcomes, mut started) = (0, false);
    while outcomes < REQUESTS || !started {
        let now = Instant::now();
        let patience = worker.next_deadline().map_or(Duration::from_secs(5), |at| at.since(now));
        if let Ok(ready) = tokio::time::timeout(patience, fd.readable()).await {
            // What comes later shows anew; what is there by now is taken below.
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
                    Event::Died(ended) => println!("the worker has ended: {ended}"),
                    Event::Started { resent } => {
                        println!("another worker: {resent} requests are sent again");
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
