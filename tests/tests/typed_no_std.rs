//! A typed service declared and used without `std` and its prelude.

#![no_std]
#![expect(clippy::panic, reason = "a test fails by panicking")]

use core::time::Duration;

use ipc_worker::{Event, Inline, Instant, Outcome, Refusal, Start, Worker};

ipc_worker::service! {
    mod sum {
        1 => fn add(a: u32, b: &str) -> u64;
    }
}

struct Sum;

impl sum::Serve for Sum {
    fn add(&mut self, a: u32, b: &str) -> Result<u64, Refusal> {
        let b: u32 = b.parse().map_err(|_| Refusal::new(1, "no number"))?;
        Ok(u64::from(a) + u64::from(b))
    }
}

fn main() {
    let mut worker: Worker<u8, Inline<sum::Server<Sum>>> =
        Worker::start(Start::inline(sum::Server(Sum))).unwrap_or_else(|error| panic!("{error}"));
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut result = None;
    let args = sum::add::args(&u32::MAX, "1");
    let taken = worker.call_until(args.call(), 7, deadline, |event| {
        if let Event::Done { tag: 7, outcome: Outcome::Reply(reply) } = event {
            result = sum::add::result(&reply).ok();
        }
    });
    assert_eq!((taken, result), (Ok(()), Some(1 << 32)));
}
