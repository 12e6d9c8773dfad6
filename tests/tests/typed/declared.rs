//! What a declaration says about a method besides its types.

use ipc_tests::forked::soon;
use ipc_tests::over;
use ipc_worker::{Again, Call, Ended, Event, Handler, How, Instant, Outcome, Worker};

use crate::service::*;

/// Makes the call, whose handler ends the worker. Returns how often it did so, how the request was
/// lost in the end, and whether it was set aside.
fn deaths(call: Call<'_>) -> (u32, How, bool) {
    let server = disk::Server(Disk::default());
    let mut worker = Worker::<u32, _>::start(over::fork(server)).unwrap();
    worker.try_call(call, 1).unwrap();
    let (mut deaths, limit) = (0, soon());
    loop {
        worker.turn(Instant::now());
        match worker.next_event() {
            Some(Event::Died(Ended::Exited(3))) => deaths += 1,
            Some(Event::Done { outcome: Outcome::SetAside(lost), .. }) => {
                return (deaths, lost.how, true);
            }
            Some(Event::Done { outcome: Outcome::Lost(lost), .. }) => {
                return (deaths, lost.how, false);
            }
            Some(Event::Done { outcome, .. }) => panic!("{outcome:?}"),
            _ => assert!(Instant::now() < limit, "{deaths} deaths"),
        }
    }
}

pub(crate) fn a_method_is_repeated_as_its_declaration_says_unless_the_call_says_otherwise() {
    let die = disk::die::args();
    assert_eq!(deaths(die.call()), (2, How::Running, true));
    assert_eq!(deaths(die.call().tries(4)), (4, How::Running, true));
    assert_eq!(deaths(die.call().again(Again::IfNotBegun)), (1, How::Running, false));
    assert_eq!(deaths(disk::exit::args([]).call()), (1, How::Running, false));

    let pair = disk::pair::args(&0);
    let plain = Call::new(disk::pair::METHOD, &[]);
    assert_eq!((pair.call().again, pair.call().tries), (Again::UntilAnswered, plain.tries));
    assert_eq!(disk::nothing::args().call().again, plain.again);
}

pub(crate) fn a_method_is_quick_or_slow_as_its_declaration_says() {
    let server = disk::Server(Disk::default());
    for (method, is_quick) in [
        (disk::is_resent::METHOD, Some(true)),
        (disk::die::METHOD, Some(false)),
        (disk::pair::METHOD, None),
        (disk::nothing::METHOD, None),
        (u16::MAX, None),
    ] {
        assert_eq!((server.is_quick(method), disk::is_quick(method)), (is_quick, is_quick));
    }
}

pub(crate) fn a_tuple_with_an_array_is_a_result_without_descriptors() {
    let server = disk::Server(Disk::default());
    let mut worker = Worker::<u32, _>::start(over::fork(server)).unwrap();
    disk::pair::call(&mut worker, &7, 1).unwrap();
    assert_eq!(reply(&mut worker, |reply| disk::pair::result(&reply)), Ok((7, [7, 0])));
    assert_eq!(disk::pair::args(&7).call().reply_fds, 0);
    assert_eq!(disk::sockets::args("").call().reply_fds, 2);
}
