//! How late main's ticks are with a hostile worker, compared with an unrelated process that is as
//! busy. The figures are only printed: no assertion depends on speed.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_tests::deep;
use ipc_tests::forked::{end_of, forked};
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{Call, Event, Instant, Launch, Restart};

use crate::liar::{FLOOD, LIES, all};
use crate::{Liars, Starts};

const PERIOD: Duration = Duration::from_millis(1);

/// Runs a loop with a tick for the given time, and asks each worker for the lie if there is one.
/// Returns how late the ticks were: the 99th percentile.
fn lateness<L: Launch>(worker: &mut Liars<L>, lie: Option<u16>, time: Duration) -> Duration {
    let (mut late, end) = (Vec::new(), Instant::now() + time);
    let mut next = Instant::now() + PERIOD;
    let mut is_asked = lie.is_none();
    while next < end {
        if !is_asked {
            let call = Call::new(lie.unwrap_or_default(), &[]);
            is_asked = worker.try_call(call.time_limit(20 * PERIOD), 0).is_ok();
        }
        let wake = worker.next_deadline().map_or(next, |deadline| deadline.min(next));
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(wake)).unwrap();
        let now = Instant::now();
        if now >= next {
            late.push(now.since(next));
            next = now + PERIOD;
        }
        worker.turn(now);
        while let Some(event) = worker.next_event() {
            // Its request is over, so the next worker gets one.
            is_asked &= !matches!(event, Event::Done { .. });
        }
    }
    late.sort_unstable();
    late[late.len() * 99 / 100]
}

/// Sends to itself as fast as it can, until its parent kills it.
fn stranger() {
    let (mut one, mut other) = UnixStream::pair().unwrap();
    let mut bytes = [7; 48_000];
    loop {
        one.write_all(&bytes).unwrap();
        other.read_exact(&mut bytes).unwrap();
    }
}

pub(crate) fn a_tick_beside_a_liar_and_beside_a_stranger<S: Starts>() {
    let home = tempfile::tempdir().unwrap();
    let number = |name: &str| {
        let place = all().position(|lie| lie.name == name).unwrap();
        LIES + u16::try_from(place).unwrap()
    };
    let lies = ["bytes that form no frame", "silence", "a stop"].map(|name| (name, number(name)));
    // Workers that keep failing are not restarted at once.
    let restart = Restart::STANDARD.limit(u32::MAX);
    let (windows, time) = (deep::or(1, 5), Duration::from_millis(deep::or(100, 2000) as u64));
    for (name, lie) in [("a flood without end", FLOOD)].into_iter().chain(lies) {
        let (mut ratios, mut list) = (Vec::new(), Vec::new());
        for _ in 0..windows {
            let beside_stranger = {
                let mut child = forked(stranger);
                let late = lateness(&mut S::worker(home.path(), restart), None, time);
                child.kill().unwrap();
                end_of(&mut child);
                late
            };
            let beside_liar = lateness(&mut S::worker(home.path(), restart), Some(lie), time);
            list.push((beside_stranger, beside_liar));
            ratios.push(beside_liar.as_secs_f64() / beside_stranger.as_secs_f64());
        }
        ratios.sort_by(f64::total_cmp);
        println!(
            "{name}: ticks late (p99) {:.2} times, {ratios:.2?}, {list:.1?}",
            ratios[windows / 2]
        );
    }
}
