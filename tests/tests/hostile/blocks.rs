//! A hostile worker that writes over blocks of shared memory and everything before them.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ipc_tests::forked::soon;
use ipc_tests::over;
use ipc_tests::random::Random;
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::fd::AsFd;
use ipc_worker::{
    Again, Call, Event, Instant, Launch, Outcome, Refusal, Reply, Request, Restart, Worker,
};

use crate::page;

const BLOCKS: usize = 4;
const BLOCK: usize = 16 << 10;

/// The request that makes a worker write over the blocks until it dies.
const WRITE_OVER: u16 = 1;
const LEN: u16 = 2;

fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    let block = request.block();
    match request.method() {
        WRITE_OVER => {
            std::thread::spawn(|| write_over(u64::from(std::process::id())));
            Ok(())
        }
        _ => {
            std::thread::sleep(Duration::from_micros(200));
            let len = block.map_or(0, |block| block.bytes().len());
            reply.put(&len.to_le_bytes())?;
            block.map_or(Ok(()), |block| block.reply(len / 2))
        }
    }
}

/// Writes random words at random places for ever, mostly where main reads.
fn write_over(seed: u64) -> ! {
    let (words, mut random) = (page::largest(), Random::seeded(seed));
    loop {
        let range = if random.one_in(2) { words.len() } else { 64 };
        let value = u32::try_from(random.next() >> u32::BITS).unwrap();
        let value = if random.one_in(2) { value % 8 } else { value };
        words[random.below(range)].store(value, Relaxed);
        std::thread::sleep(Duration::from_micros(5));
    }
}

#[expect(clippy::extra_unused_type_parameters, reason = "cases name how a worker starts")]
pub(crate) fn what_is_written_over_blocks_spoils_bytes_and_nothing_else<S>() {
    let start = over::fork(handle).restart(Restart::AT_ONCE).blocks::<BLOCKS>(BLOCK);
    let mut worker = Worker::<u32, _, 8, 4096>::start(start).unwrap();
    let (mut random, limit, payload) = (Random::new(), soon(), [7; BLOCK]);
    let (mut next, mut told, mut deaths, mut spoiled) = (0, 0, 0, 0);
    while told < 2000 {
        if random.one_in(20) {
            worker.kill();
        }
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            match event {
                Event::Done { outcome, .. } => {
                    told += 1;
                    let block = match &outcome {
                        Outcome::Reply(reply) => reply.block(),
                        Outcome::Lost(lost) => lost.block(),
                        _ => None,
                    };
                    let mut bytes = [0; BLOCK + 1];
                    let len = block.map_or(0, |block| block.read_at(0, &mut bytes));
                    assert!(len <= BLOCK);
                    let is_lost = matches!(outcome, Outcome::Lost(_));
                    spoiled += u32::from(is_lost && bytes[..len].iter().any(|&byte| byte != 7));
                }
                Event::Died(_) => deaths += 1,
                _ => {}
            }
        }
        loop {
            let method = if random.one_in(30) { WRITE_OVER } else { LEN };
            let again = if random.one_in(2) { Again::UntilDone } else { Again::IfNotBegun };
            let len = random.below(BLOCK + 1);
            let pieces = [&payload[..len]];
            let call = Call::new(method, &[]).again(again).tries(100);
            // Without a free block, send a request without one: the worker may keep them all.
            let with_block = worker.try_call(call.block(&pieces), next).is_ok();
            if !with_block && worker.try_call(call, next).is_err() {
                break;
            }
            next += 1;
        }
        assert!(Instant::now() < limit, "{told} of {next} outcomes, {deaths} deaths, {worker:?}");
        let wake = worker.next_deadline().map_or(limit, |next| next.min(limit));
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(wake)).unwrap();
    }
    println!("{told} outcomes, {deaths} deaths, {spoiled} spoiled");
    // The next worker is honest, and all blocks are back.
    worker.kill();
    while worker.under_way() > 0 {
        turn_until(&mut worker, |event| matches!(event, Event::Done { .. }));
    }
    worker.kill();
    turn_until(&mut worker, |event| matches!(event, Event::Started { .. }));
    for tag in 0..4 {
        worker.try_call(Call::new(LEN, &[]).block(&[&payload]), tag).unwrap();
    }
    let mut last = Vec::new();
    turn_until(&mut worker, |event| {
        let Event::Done { outcome: Outcome::Reply(reply), .. } = event else { return false };
        last.push((reply.bytes().to_vec(), reply.block().unwrap().len()));
        last.len() == BLOCKS
    });
    assert_eq!(last, vec![(BLOCK.to_le_bytes().to_vec(), BLOCK / 2); BLOCKS]);
}

/// Turns until the awaited event arrives.
fn turn_until<L: Launch>(
    worker: &mut Worker<u32, L, 8, 4096>,
    mut is_it: impl FnMut(&Event<'_, u32>) -> bool,
) {
    let limit = soon();
    loop {
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            if is_it(&event) {
                return;
            }
        }
        assert!(Instant::now() < limit, "{worker:?}");
        let wake = worker.next_deadline().map_or(limit, |next| next.min(limit));
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(wake)).unwrap();
    }
}
