//! Calls that succeed, and calls that are not taken.

use ipc_tests::over::{self, Over};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_tests::counting::Counting;
use ipc_tests::fds;
use ipc_tests::forked::soon;
use ipc_worker::{
    Again, Ended, Event, Fork, How, Inline, Instant, NotTaken, Outcome, Refusal, Start, Why, Worker,
};

use crate::service::*;

fn forked() -> Typed<Fork<Served, Over>> {
    Worker::start(over::fork(disk::Server(Disk::default()))).unwrap()
}

fn inline() -> Typed<Inline<Served>> {
    Worker::start(Start::inline(disk::Server(Disk::default()))).unwrap()
}

fn everything() -> Everything {
    let inner = Everything { letter: 'ß', ..Everything::default() };
    Everything {
        truth: true,
        small: i8::MIN,
        large: u128::MAX,
        real: -0.5,
        letter: '\u{10ffff}',
        maybe: Some(Box::new(inner)),
        kinds: vec![
            Kind::Unit,
            Kind::Newtype("né".to_owned()),
            Kind::Tuple(-1, true),
            Kind::Struct { at: i64::MIN },
        ],
        map: [("key".to_owned(), (u16::MAX, [1, -2, 3]))].into(),
        nothing: (),
    }
}

pub(crate) fn arguments_and_results_of_all_kinds_come_back() {
    let mut worker = forked();
    disk::all::call(&mut worker, &everything(), &(255, i16::MIN), 1).unwrap();
    let result = reply(&mut worker, |reply| disk::all::result(&reply).unwrap());
    assert_eq!(result, (everything(), (255, i16::MIN)));
    disk::nothing::call(&mut worker, 2).unwrap();
    reply(&mut worker, |reply| {
        assert_eq!(reply.bytes(), b"");
        disk::nothing::result(&reply).unwrap();
    });
    assert_eq!((disk::append::METHOD, disk::asked::METHOD), (1, 11));
}

pub(crate) fn borrowed_arguments_reach_the_worker_and_borrowed_results_main() {
    let mut worker = forked();
    let (first, second) = ("abcdef".to_owned(), b"ghi".to_vec());
    disk::joined::call(&mut worker, &first, &second, &3, 1).unwrap();
    drop((first, second));
    reply(&mut worker, |reply| {
        let text: &str = disk::joined::result(&reply).unwrap();
        assert_eq!(text, "prepared: abcghi");
        let reply_has = reply.bytes().as_ptr_range();
        assert!(reply_has.contains(&text.as_ptr()), "borrowed from the reply, not copied");
    });
}

pub(crate) fn descriptors_reach_the_method_and_come_back() {
    let mut worker = forked();
    let before = fds::open().len();
    let mut file = tempfile::tempfile().unwrap();
    for number in 1..=2 {
        let line = Line { number, text: "through a descriptor" };
        disk::append::call(&mut worker, &line, [file.as_fd()], 1).unwrap();
        let len = reply(&mut worker, |reply| disk::append::result(&reply).unwrap());
        assert_eq!(len, 23 * number);
    }
    assert_eq!(text(&mut file), "1 through a descriptor\n2 through a descriptor\n");

    disk::sockets::call(&mut worker, "new", 2).unwrap();
    let (len, [ours, theirs]) = reply(&mut worker, |reply| disk::sockets::result(reply).unwrap());
    assert_eq!(len, 3);
    drop(ours);
    let mut text = String::new();
    UnixStream::from(theirs).read_to_string(&mut text).unwrap();
    assert_eq!(text, "new");
    assert!(worker.next_event().is_none());
    drop(file);
    assert_eq!(fds::open().len(), before);
}

pub(crate) fn a_method_refuses_with_its_own_code() {
    let mut worker = forked();
    disk::refuse::call(&mut worker, &42, 1).unwrap();
    assert_eq!(refusal(&mut worker), Refusal::new(42, "not today"));
}

pub(crate) fn in_line_is_the_same() {
    let mut worker = inline();
    let before = fds::open().len();
    disk::all::call(&mut worker, &everything(), &(0, 1), 1).unwrap();
    let result = reply(&mut worker, |reply| disk::all::result(&reply).unwrap());
    assert_eq!(result, (everything(), (0, 1)));
    let mut file = tempfile::tempfile().unwrap();
    let line = Line { number: 7, text: "in line" };
    disk::append::call(&mut worker, &line, [file.as_fd()], 1).unwrap();
    assert_eq!(reply(&mut worker, |reply| disk::append::result(&reply)), Ok(10));
    assert_eq!(text(&mut file), "7 in line\n");
    disk::sockets::call(&mut worker, "new", 2).unwrap();
    let (_, sockets) = reply(&mut worker, |reply| disk::sockets::result(reply).unwrap());
    drop((file, sockets));
    disk::refuse::call(&mut worker, &42, 3).unwrap();
    assert_eq!(refusal(&mut worker).code, 42);
    disk::joined::call(&mut worker, "a", b"", &1, 4).unwrap();
    reply(&mut worker, |reply| {
        assert_eq!(disk::joined::result(&reply), Ok("prepared: a"));
    });
    assert!(worker.next_event().is_none());
    assert_eq!(fds::open().len(), before);
}

pub(crate) fn the_worker_prepares_and_settles() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let server = Disk { settled: Some(theirs.into()), ..Disk::default() };
    let mut worker = Worker::<u32, _>::start(over::fork(disk::Server(server))).unwrap();
    disk::nothing::call(&mut worker, 1).unwrap();
    reply(&mut worker, |_| ());
    let mut byte = [0];
    ours.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    ours.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"s", "settled before the reply was sent");
    // The text at the start of `joined` shows that `prepare` ran.
}

pub(crate) fn a_deadline_a_cancel_and_a_resend_policy_are_set_as_for_any_call() {
    let mut worker = forked();
    let sleep = disk::sleep_ms::args(&200);
    let late = Instant::now() + Duration::from_millis(20);
    worker.try_call(sleep.call().deadline(late), 1).unwrap();
    let id = disk::nothing::call(&mut worker, 2).unwrap();
    worker.turn(Instant::now());
    assert!(worker.cancel(id));
    outcome(&mut worker, |outcome| assert!(matches!(outcome, Outcome::Cancelled), "{outcome:?}"));
    outcome(&mut worker, |outcome| {
        assert!(matches!(outcome, Outcome::DeadlinePassed), "{outcome:?}");
    });
    // The cancelled call never ran; a blocking call takes the same arguments.
    let mut asked = None;
    worker
        .call_until(disk::asked::args().call(), 3, soon(), |event| {
            if let Event::Done { tag: 3, outcome: Outcome::Reply(reply) } = event {
                asked = Some(disk::asked::result(&reply).unwrap());
            }
        })
        .unwrap();
    assert_eq!(asked, Some(1), "only the call that slept");

    let exit = disk::exit::args([]);
    worker.try_call(exit.call().again(Again::UntilDone), 4).unwrap();
    let (mut deaths, limit) = (0, soon());
    let how = loop {
        worker.turn(Instant::now());
        match worker.next_event() {
            Some(Event::Died(Ended::Exited(3))) => deaths += 1,
            Some(Event::Done { tag: 4, outcome: Outcome::SetAside(lost) }) => break lost.how,
            Some(Event::Done { outcome, .. }) => panic!("{outcome:?}"),
            _ => assert!(Instant::now() < limit, "{deaths} deaths"),
        }
    };
    assert_eq!((deaths, how), (3, How::Running), "it begins three times");
}

pub(crate) fn a_function_may_see_its_request() {
    let mut worker = forked();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let id = disk::patient::call(&mut worker, &60_000, [theirs.as_fd()], 1).unwrap();
    drop(theirs);
    worker.turn(Instant::now());
    let mut byte = [0];
    ours.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"b");
    assert!(worker.cancel(id));
    ours.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"c", "it has seen that it was cancelled");
    outcome(&mut worker, |outcome| assert!(matches!(outcome, Outcome::Cancelled), "{outcome:?}"));
    disk::is_resent::call(&mut worker, 2).unwrap();
    assert_eq!(reply(&mut worker, |reply| disk::is_resent::result(&reply)), Ok(false));
}

pub(crate) fn arguments_that_do_not_fit_are_not_taken_and_name_their_length() {
    let server = disk::Server(Disk::default());
    let mut worker = Worker::<u32, _, 4, 512>::start(over::fork(server)).unwrap();
    let (first, second) = ("x".repeat(400), [b'y'; 100]);
    // 2 + 400 bytes, 1 + 100 bytes, 1 byte: over by 16.
    let not_taken = disk::joined::call(&mut worker, &first, &second, &0, 5).unwrap_err();
    let why = Why::TooLong { len: 504, capacity: 488 };
    assert_eq!(not_taken, NotTaken { tag: 5, why });
    // A call that just fits is taken.
    disk::joined::call(&mut worker, first.get(16..).unwrap(), &second, &0, 6).unwrap();
    reply(&mut worker, |reply| assert!(disk::joined::result(&reply).is_ok()));
}

pub(crate) fn a_value_that_cannot_be_written_is_not_taken() {
    let mut worker = forked();
    let not_taken = disk::take::call(&mut worker, &Unwritable, 6).unwrap_err();
    assert_eq!(not_taken, NotTaken { tag: 6, why: Why::Unencodable });
    let not_taken = disk::grow::call(&mut worker, &Growing::default(), 6).unwrap_err();
    assert_eq!(not_taken, NotTaken { tag: 6, why: Why::Unencodable });
    assert_eq!(worker.under_way(), 0);
    disk::asked::call(&mut worker, 7).unwrap();
    assert_eq!(reply(&mut worker, |reply| disk::asked::result(&reply)), Ok(0));
}

pub(crate) fn a_result_that_does_not_fit_or_cannot_be_written_is_a_refusal() {
    let server = disk::Server(Disk::default());
    let mut worker = Worker::<u32, _, 4, 512>::start(over::fork(server)).unwrap();
    // A reply has 512 / 2 - 24 = 232 bytes; two of them hold the length.
    disk::long::call(&mut worker, &230, 1).unwrap();
    assert_eq!(reply(&mut worker, |reply| disk::long::result(&reply)), Ok(vec![7; 230]));
    disk::long::call(&mut worker, &231, 2).unwrap();
    assert_eq!(refusal(&mut worker), Refusal::REPLY_TOO_LONG);
    disk::unwritable::call(&mut worker, 3).unwrap();
    assert_eq!(refusal(&mut worker), Refusal::UNENCODABLE);
}

pub(crate) fn one_handler_serves_two_services() {
    let mut state = Disk::default();
    let handler = move |request: &mut ipc_worker::Request<'_>,
                        answer: &mut ipc_worker::Reply<'_>| {
        both(&mut state, request, answer)
    };
    let mut worker = Worker::<u32, _>::start(over::fork_with(&[], handler)).unwrap();
    disk::nothing::call(&mut worker, 1).unwrap();
    reply(&mut worker, |reply| disk::nothing::result(&reply).unwrap());
    echo::echo::call(&mut worker, &i64::MIN, 2).unwrap();
    assert_eq!(reply(&mut worker, |reply| echo::echo::result(&reply)), Ok(i64::MIN));
    disk::asked::call(&mut worker, 3).unwrap();
    assert_eq!(reply(&mut worker, |reply| disk::asked::result(&reply)), Ok(1));
}

pub(crate) fn repro_names_and_attributes_of_what_is_made_are_free() {
    let handler = |request: &mut ipc_worker::Request<'_>, answer: &mut ipc_worker::Reply<'_>| {
        echo::dispatch(&mut Disk::default(), request, answer)
    };
    let mut worker = Worker::<u32, _>::start(Start::inline(handler)).unwrap();
    echo::call::call(&mut worker, &Longest(7), &1, &2, &3, 1).unwrap();
    assert_eq!(reply(&mut worker, |reply| echo::call::result(&reply)), Ok(Longest(7)));
    echo::args::call(&mut worker, "", &8, &(), &[], 2).unwrap();
    assert_eq!(reply(&mut worker, |reply| echo::args::result(&reply)), Ok(8));
    echo::result::call(&mut worker, &1, &2, 3).unwrap();
    assert_eq!(reply(&mut worker, |reply| echo::result::result(&reply)), Ok(()));
    echo::dispatch::call(&mut worker, &1, 4).unwrap();
    assert_eq!(refusal(&mut worker).code, 105);
    // Declared only for another program.
    worker.try_call(ipc_worker::Call::new(106, &[]), 5).unwrap();
    assert_eq!(refusal(&mut worker), Refusal::UNKNOWN_METHOD);
}

/// Asks the worker how often it has allocated.
fn count_in(worker: &mut Typed<Fork<Served, Over>>) -> usize {
    disk::counted::call(worker, 0).unwrap();
    reply(worker, |reply| disk::counted::result(&reply).unwrap())
}

pub(crate) fn ten_thousand_typed_requests_allocate_nothing() {
    let mut worker = forked();
    assert!(Counting::count() > 0, "the allocator counts");
    let before = (Counting::count(), count_in(&mut worker));
    for round in 0..10_000_u32 {
        disk::sleep_ms::call(&mut worker, &0, round).unwrap();
        reply(&mut worker, |reply| disk::sleep_ms::result(&reply).unwrap());
    }
    let after = (Counting::count(), count_in(&mut worker));
    assert_eq!(after, before, "(main, worker)");
}
