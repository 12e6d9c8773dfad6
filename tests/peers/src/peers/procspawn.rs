//! procspawn: function calls in a one-process pool.

use std::sync::Mutex;

use procspawn::{JoinHandle, Pool};
use serde_bytes::ByteBuf;

use crate::contender::{Contender, Task, Trouble};
use crate::cpus::pin;
use crate::message::{Message, Service, kind};
use crate::work::{IN_FLIGHT, Work};

/// Serves, without returning, if a pool started this process.
pub(crate) fn init() {
    procspawn::init();
}

pub(crate) fn start(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    match task.work {
        Work::Fds { .. } => return Err(Trouble::LeftOut("passes only ipc-channel's handles")),
        Work::OneWay { .. } => return Err(Trouble::LeftOut("answers every call")),
        Work::Meet | Work::Large { .. } => return Err(Trouble::Elsewhere),
        _ => {}
    }
    let pool = Pool::new(1)?;
    // As with all other contenders, this is part of the start.
    pool.spawn(task.peer_cpu, pinned).join()?;
    Ok(Box::new(Pooled { pool, task, message: Message::new(task.work.size()) }))
}

struct Pooled {
    pool: Pool,
    task: Task,
    message: Message,
}

impl Pooled {
    fn spawn(&mut self) -> JoinHandle<ByteBuf> {
        self.pool.spawn(ByteBuf::from(self.message.next(kind::ECHO)), answer)
    }
}

impl Contender for Pooled {
    fn round(&mut self) -> Result<(), Trouble> {
        let first = self.message.number() + 1;
        let count = if let Work::InFlight { .. } = self.task.work { IN_FLIGHT } else { 1 };
        let calls: Vec<_> = (0..count).map(|_| self.spawn()).collect();
        for (call, number) in calls.into_iter().zip(first..) {
            self.message.check(&call.join()?, number)?;
        }
        Ok(())
    }

    fn pid(&mut self) -> Option<i32> {
        self.pool.spawn(self.task.peer_cpu, pinned).join().ok()
    }

    fn restarts(&self) -> bool {
        true
    }
}

/// Runs in the pool's process.
fn pinned(cpu: usize) -> i32 {
    pin(cpu);
    std::process::id().cast_signed()
}

/// Runs in the pool's process, too.
fn answer(message: ByteBuf) -> ByteBuf {
    static SERVICE: Mutex<Option<Service>> = Mutex::new(None);
    let mut service = SERVICE.lock().expect("no panic while it is locked");
    let service = service.get_or_insert_with(|| Service::new(message.len()));
    let is_right = service.answer(&message).is_ok();
    if is_right { message } else { ByteBuf::new() }
}
