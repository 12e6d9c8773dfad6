//! Two live processes driven in lockstep through random scripts. Each answer is compared with a
//! model of the written rules.
//!
//! The controller gives the two sides one order at a time, and never looks at how they execute it.
//! If the rules say that a call waits, the controller checks that no answer comes before the order
//! that releases it, and that one comes after.

mod order;
mod rules;
mod script;
mod sides;

use ipc_barrier::Lane;
use ipc_tests::deep;
use ipc_tests::random::Random;
use sides::Sides;

/// Scripts run by the same two processes; only the last one may end a process.
const BATCH: usize = 4;

pub(crate) fn every_answer_is_that_of_the_written_rules<L: Lane>() {
    let mut random = Random::new();
    let scripts = deep::or(3_000, 30_000);
    let mut counts = script::Counts::default();
    // If that is refused, as by qemu-user, process 1 adopts the orphans.
    _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    for batch in 0..scripts / BATCH {
        let mut sides = Sides::start::<L>(BATCH);
        for number in 0..BATCH {
            let is_last = number + 1 == BATCH;
            script::run(&mut sides, &mut random, is_last, &mut counts)
                .unwrap_or_else(|error| panic!("script {}: {error}", batch * BATCH + number));
        }
        sides.end();
    }
    println!("{}: {scripts} scripts, {counts:?}", L::NAME);
    assert!(counts.answers > 5 * scripts, "{counts:?}");
    // Waits that were not seen asleep are compared too, so this count is not exact.
    assert!(counts.seen_asleep > scripts / 10, "{counts:?}");
    assert!(counts.released > scripts / 10 && counts.deaths > scripts / 20, "{counts:?}");
    assert!(counts.lingered > scripts / 10, "{counts:?}");
}
