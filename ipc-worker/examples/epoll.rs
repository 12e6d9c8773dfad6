//! An event loop with plain epoll. A worker is killed while requests are in flight; the next one
//! continues.

use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

use ipc_worker::{Call, Event, Instant, Outcome, Refusal, Reply, Request, Start, Worker};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::process::{Pid, Signal, kill_process};

const REQUESTS: usize = 6;

/// Runs in the worker process, and may block.
fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    sleep(Duration::from_millis(50));
    reply.put(request.bytes())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut worker = Worker::<usize, _>::start(Start::fork(handle))?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    // Level-triggered (no EPOLLET): what a turn leaves shows again in the next wait.
    epoll::add(&epoll, &worker, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    for tag in 0..REQUESTS {
        worker.try_call(Call::new(1, &[b"some work"]), tag)?;
    }

    // Each request needs an outcome. The worker must also die, and be replaced.
    let (mut outcomes, mut died, mut started) = (Vec::new(), false, false);
    let limit = Instant::now() + Duration::from_secs(60);
    while !(outcomes.len() >= REQUESTS && died && started) && Instant::now() < limit {
        let patience = worker.next_deadline().unwrap_or(limit).min(limit).since(Instant::now());
        let mut ready = Vec::with_capacity(4);
        // If the wait fails with EINTR, carry on.
        _ = epoll::wait(&epoll, spare_capacity(&mut ready), Some(&Timespec::try_from(patience)?));
        worker.turn(Instant::now());
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
