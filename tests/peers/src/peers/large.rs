//! Large payloads of ipc-worker one way and small ones the other, through the socket and in shared
//! memory blocks.

#![expect(unsafe_code, reason = "a large worker is built in place")]

use std::time::Duration;

use ipc_worker::{
    Call, Event, Fork, Handler, Instant, Launch, Outcome, Patience, Reason, Refusal, Reply,
    Request, SharedBytes, Start, Worker,
};

use crate::contender::{Contender, Task, Trouble};
use crate::cpus::pin;
use crate::work::Work;

const TO_WORKER: u16 = 1;
const TO_MAIN: u16 = 2;

/// Longer than any call takes.
const LONG: Duration = Duration::from_secs(60);

pub(crate) fn by_socket(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    Large::<_, 12_582_912>::start(task, false, start(task)?)
}

pub(crate) fn in_blocks(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    Large::<_, 32_768>::start(task, true, start(task)?.blocks::<2>(task.work.size()))
}

fn start(task: Task) -> Result<Start<Fork<Ends>>, Trouble> {
    let Work::Large { size, .. } = task.work else { return Err(Trouble::Elsewhere) };
    let handler = Ends { cpu: task.peer_cpu, payload: vec![0; size] };
    Ok(Start::fork(handler).patience(Patience::SLEEP))
}

/// Reads the numbers at both ends of a large request, and writes them to both ends of a large
/// reply.
struct Ends {
    cpu: usize,
    payload: Vec<u8>,
}

impl Handler for Ends {
    fn prepare(&mut self) -> Result<(), Reason> {
        pin(self.cpu);
        Ok(())
    }

    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        if request.method() == TO_WORKER {
            return reply.put(&match request.block() {
                Some(block) => ends_of_shared(block.bytes()),
                None => ends(request.bytes()),
            });
        }
        mark(&mut self.payload, request.bytes());
        let Some(block) = request.block() else { return reply.put(&self.payload) };
        block.space().write_at(0, &self.payload);
        block.reply(self.payload.len())
    }
}

type Number = [u8; 8];

/// Writes a number to both ends.
fn mark(payload: &mut [u8], number: &[u8]) {
    let back = payload.len() - number.len();
    payload[..number.len()].copy_from_slice(number);
    payload[back..].copy_from_slice(number);
}

fn ends(payload: &[u8]) -> [u8; 16] {
    let mut ends = [0; 16];
    ends[..8].copy_from_slice(&payload[..8]);
    ends[8..].copy_from_slice(&payload[payload.len() - 8..]);
    ends
}

fn ends_of_shared(payload: SharedBytes<'_>) -> [u8; 16] {
    let mut ends = [0; 16];
    payload.read_at(0, &mut ends[..8]);
    payload.read_at(payload.len() - 8, &mut ends[8..]);
    ends
}

struct Large<L: Launch, const BYTES: usize> {
    worker: Box<Worker<(), L, 4, BYTES>>,
    to_main: bool,
    in_block: bool,
    /// The request's payload, and a buffer into which a reply's block is copied.
    payload: Vec<u8>,
    received: Vec<u8>,
    number: u64,
}

impl<L: Launch + 'static, const BYTES: usize> Large<L, BYTES> {
    fn start(task: Task, in_block: bool, start: Start<L>) -> Result<Box<dyn Contender>, Trouble> {
        let Work::Large { size, to_main } = task.work else { return Err(Trouble::Elsewhere) };
        let mut place = Box::new_uninit();
        Worker::start_in(&mut place, start)?;
        // SAFETY: `start_in` has just initialized it.
        let worker = unsafe { place.assume_init() };
        let (payload, received) = (vec![0; size], vec![0; size]);
        Ok(Box::new(Self { worker, to_main, in_block, payload, received, number: 0 }))
    }
}

impl<L: Launch + 'static, const BYTES: usize> Contender for Large<L, BYTES> {
    fn round(&mut self) -> Result<(), Trouble> {
        self.number += 1;
        let number: Number = self.number.to_le_bytes();
        let Self { worker, payload, received, to_main, in_block, .. } = self;
        if !*to_main {
            mark(payload, &number);
        }
        let (large, small) = ([&payload[..]], [&number[..]]);
        let call = match (*to_main, *in_block) {
            (false, false) => Call::new(TO_WORKER, &large),
            (false, true) => Call::new(TO_WORKER, &[]).block(&large),
            (true, false) => Call::new(TO_MAIN, &small),
            (true, true) => Call::new(TO_MAIN, &small).block(&[]),
        };
        let mut ends_of_reply = None;
        worker.call_until(call, (), Instant::now() + LONG, |event| {
            let Event::Done { outcome: Outcome::Reply(reply), .. } = event else { return };
            ends_of_reply = Some(match reply.block().filter(|_| *to_main) {
                None => ends(reply.bytes()),
                Some(block) => {
                    block.read_at(0, received);
                    ends(received)
                }
            });
        })?;
        match ends_of_reply == Some(ends(&[number; 2].concat())) {
            true => Ok(()),
            false => Err(Trouble::Failed("other numbers".into())),
        }
    }

    fn pid(&mut self) -> Option<i32> {
        self.worker.pid()
    }
}
