//! The crates at the worker level: `call_until`, and a poll loop.

use std::fs::File;
use std::hint::black_box;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use ipc_tests::counting::Counting;
use ipc_tests::speed::{BATCH, Plan, Work};
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{
    Call, Event, Fork, Handler, Instant, Medium, Outcome, Patience, Reason, Refusal, Reply,
    Request, Start, Worker,
};

use crate::contender::{Contender, Lap};
use crate::cpus::pin;

const ECHO: u16 = 1;
const COUNT: u16 = 2;
const SLOTS: usize = 64;

/// Replies with the request's bytes, or with the count of allocations.
#[derive(Clone)]
pub(crate) struct Echo {
    cpu: usize,
}

impl Handler for Echo {
    fn prepare(&mut self) -> Result<(), Reason> {
        pin(self.cpu);
        Ok(())
    }

    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        match request.method() {
            ECHO => reply.put(request.bytes()),
            COUNT => reply.put(&Counting::count().to_le_bytes()),
            _ => Err(Refusal::UNKNOWN_METHOD),
        }
    }
}

pub(crate) struct Supervised<M: Medium, const BYTES: usize> {
    worker: Box<Worker<u64, Fork<Echo, M>, SLOTS, BYTES>>,
    work: Work,
    payload: Vec<u8>,
    files: Vec<File>,
}

impl<M: Medium, const BYTES: usize> Supervised<M, BYTES> {
    pub(crate) fn start(
        plan: &Plan,
        peer_cpu: usize,
        over: impl FnOnce(Start<Fork<Echo>>) -> Start<Fork<Echo, M>>,
    ) -> Self {
        // On one processor spinning would only delay the peer.
        let patience = match (plan.spin, plan.cpus) {
            (true, 2..) => Patience::SPIN,
            _ => Patience::SLEEP,
        };
        let start = over(Start::fork(Echo { cpu: peer_cpu })).patience(patience);
        let worker = Worker::start(start).unwrap();
        Self {
            worker: Box::new(worker),
            work: plan.work,
            payload: vec![7; plan.size],
            files: (0..plan.fds).map(|_| File::open("/dev/null").unwrap()).collect(),
        }
    }

    fn blocking(&mut self, operations: usize, times: &mut Vec<u64>) {
        let Self { worker, payload, files, .. } = self;
        let fds: heapless::Vec<BorrowedFd<'_>, 8> = files.iter().map(File::as_fd).collect();
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut lap = Lap::begin();
        for tag in 0..operations {
            let pieces: [&[u8]; 1] = [payload];
            let call = Call::new(ECHO, &pieces).fds(&fds);
            let answer = |event: Event<'_, u64>| check(&event, payload.len());
            worker.call_until(call, tag as u64, deadline, answer).unwrap();
            lap.end(1, times);
        }
    }

    fn in_a_poll_loop(&mut self, operations: usize, times: &mut Vec<u64>) {
        let Self { worker, payload, work, .. } = self;
        let count = if *work == Work::InFlight { BATCH } else { 1 };
        let mut lap = Lap::begin();
        for tag in 0..operations.div_ceil(count) {
            for _ in 0..count {
                worker.try_call(Call::new(ECHO, &[payload]), tag as u64).unwrap();
            }
            worker.turn(Instant::now());
            while worker.under_way() > 0 {
                let next = worker.next_deadline();
                wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], next).unwrap();
                worker.turn(Instant::now());
                while let Some(event) = worker.next_event() {
                    check(&event, payload.len());
                }
            }
            lap.end(count, times);
        }
    }
}

fn check(event: &Event<'_, u64>, len: usize) {
    match event {
        Event::Done { outcome: Outcome::Reply(reply), .. } => {
            assert_eq!(black_box(reply.bytes()).len(), len);
        }
        other => panic!("{other:?}"),
    }
}

impl<M: Medium, const BYTES: usize> Contender for Supervised<M, BYTES> {
    fn run(&mut self, operations: usize, times: &mut Vec<u64>) {
        match self.work {
            Work::RoundTrip => self.blocking(operations, times),
            _ => self.in_a_poll_loop(operations, times),
        }
    }

    fn peer_allocations(&mut self) -> usize {
        let mut count = None;
        let deadline = Instant::now() + Duration::from_secs(60);
        self.worker
            .call_until(Call::new(COUNT, &[]), 0, deadline, |event| match event {
                Event::Done { outcome: Outcome::Reply(reply), .. } => {
                    count = reply.bytes().try_into().ok().map(usize::from_le_bytes);
                }
                other => panic!("{other:?}"),
            })
            .unwrap();
        count.unwrap()
    }
}
