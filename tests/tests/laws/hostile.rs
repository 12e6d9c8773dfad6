//! A process that is killed by SIGKILL in the middle of its calls.

use ipc_barrier::Ended;
use ipc_tests::fds;
use ipc_tests::forked::{end_of, forked};
use ipc_transport::Transport;
use ipc_transport::laws::parts::frame;
use ipc_transport::laws::parts::hostile::{send_parts, take_last_words};

/// Everything that it sent arrives, and no descriptor is left.
pub(crate) fn a_process_killed_at_each_call_leaves_nothing<A: Transport, B: Transport>(
    pair: fn() -> (A, B),
) {
    let open = fds::open().len();
    for calls in 0..12 {
        let (mut left, mut right) = pair();
        let mut child = forked(|| {
            send_parts(&mut left, calls);
            kill_self();
        });
        drop(left);
        let whole = frame(1, (0, 0), b"payload");
        let sent = whole.chunks(7).cycle().take(calls).map(<[u8]>::len).sum();
        take_last_words(&mut right, sent);
        assert_eq!(end_of(&mut child), Ended::Killed(9));
        drop((right, child));
        assert_eq!(fds::open().len(), open);
    }
}

pub(crate) fn kill_self() {
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
}
