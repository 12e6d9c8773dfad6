//! A worker under pressure: both sides send as fast as they can, and a worker floods main.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    unsafe_code,
    reason = "a test fails by panicking; a hostile worker writes to descriptors it does not own"
)]

use ipc_tests::over;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use ipc_frame::{Header, Kind};
use ipc_tests::traced::{Stretch, mark, stretches};
use ipc_tests::wire::RawHeader;
use ipc_tests::{cases, fds};
use ipc_transport::{Interest, PassFds, Stream, TransportError, Watched, wait};
use ipc_worker::{Call, Event, Instant, Launch, Outcome, Refusal, Reply, Request, Restart, Worker};
use rustix::net::sockopt::set_socket_send_buffer_size;

const SMALL_BUFFER: u16 = 1;
const LARGEST_REPLY: u16 = 2;
const NARROW: usize = 4096;

const REPLY: u8 = Kind::Reply as u8;

/// The floods of a hostile worker.
const STRAYS: u16 = 10;
const WORDS: u16 = 11;
const GARBAGE: u16 = 12;
const FDS: u16 = 13;
const GUESSES: u16 = 14;
const BYTEWISE: u16 = 15;
const NOTES: u16 = 16;

fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    match request.method() {
        SMALL_BUFFER => Ok(set_socket_send_buffer_size(fds::own_socket(), 1)?),
        LARGEST_REPLY => {
            let number = request.bytes().first_chunk::<8>().unwrap();
            // A second note is dropped if a buffer of 256 bytes gives no credit for it.
            request.note(1, &number.repeat(7));
            request.note(1, &number.repeat(7));
            reply.put(number)?;
            while reply.put(&[7; 64]).is_ok() {}
            while reply.put(&[7]).is_ok() {}
            Ok(())
        }
        method => flood(method),
    }
}

fn flood(method: u16) -> ! {
    let stray = Header::reply(u64::MAX).encode();
    let bytes = match method {
        STRAYS => stray.repeat(2000),
        NOTES => Header::note(7, 0).encode().repeat(2000),
        WORDS => Header::one_way(0, 0).encode().repeat(2000),
        GARBAGE => vec![0xee; 60_000],
        GUESSES => {
            let ids =
                (0..1000_u64).flat_map(|generation| (0..4).map(move |s| generation << 32 | s));
            ids.flat_map(|id| Header::reply(id).encode()).collect()
        }
        BYTEWISE => {
            let len = u32::try_from(NARROW).unwrap() - 24;
            let header = RawHeader { len, kind: REPLY, id: 9, ..RawHeader::default() };
            let mut bytes = header.bytes().to_vec();
            bytes.resize(NARROW, 7);
            bytes
        }
        _ => flood_with_descriptors(),
    };
    let step = if method == BYTEWISE { 1 } else { bytes.len() };
    for piece in bytes.chunks(step).cycle() {
        if rustix::io::write(fds::own_socket(), piece).is_err() {
            // Main is gone, or no longer reads.
            break;
        }
    }
    ipc_barrier::exit(0)
}

fn flood_with_descriptors() -> ! {
    let mut stream = Stream::from(fds::own_socket().try_clone_to_owned().unwrap());
    let null = File::open("/dev/null").unwrap();
    let list = [null.as_fd(); 253];
    let mut header = RawHeader { kind: REPLY, id: u64::MAX, fd_count: 253, ..RawHeader::default() };
    loop {
        match stream.blocking().send_with(&[&header.bytes()], &list) {
            Ok(_) => header.fd_sequence = header.fd_sequence.wrapping_add(253),
            Err(TransportError::Exhausted(_)) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => ipc_barrier::exit(0),
        }
    }
}

/// Sleeps like a daemon's loop; a missing wake-up fails the case.
fn sleep<L: Launch, const S: usize, const B: usize>(worker: &Worker<u64, L, S, B>) {
    let limit = Instant::now() + Duration::from_secs(30);
    let deadline = worker.next_deadline().map_or(limit, |next| next.min(limit));
    wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(deadline)).unwrap();
    assert!(Instant::now() < limit, "no progress: {:?}", worker.counters());
}

/// The requests that were made, and how many outcomes were told.
#[derive(Default)]
struct Ledger {
    made: u64,
    told: u64,
    one_ways: u64,
    notes: u64,
}

impl Ledger {
    /// Makes requests and one-ways of every length, as many as fit.
    fn press<L: Launch, const S: usize, const B: usize>(
        &mut self,
        worker: &mut Worker<u64, L, S, B>,
    ) {
        let filler = [7; B];
        // Lengths from the shortest to the longest, in turn.
        let capacity = Worker::<u64, L, S, B>::REQUEST_CAPACITY - 8;
        loop {
            let tag = self.made.to_le_bytes();
            let len =
                usize::try_from(self.made * 37 + self.one_ways * 11).unwrap() % (capacity + 1);
            let pieces: [&[u8]; 2] = [&tag, filler.get(..len).unwrap()];
            let call = Call::new(LARGEST_REPLY, &pieces);
            // Every third one is a one-way.
            let (is_taken, count) = match (self.made + self.one_ways) % 3 {
                0 => (worker.try_send(call).is_ok(), &mut self.one_ways),
                _ => (worker.try_call(call, self.made).is_ok(), &mut self.made),
            };
            if !is_taken {
                return;
            }
            *count += 1;
        }
    }

    /// Records an outcome: in order, each once, and with its own request.
    fn note<const B: usize>(&mut self, event: Event<'_, u64>) {
        if let Event::Note { tag, note } = event {
            let number = *note.bytes().first_chunk().unwrap();
            assert_eq!(note.bytes(), number.repeat(7));
            // Notes of one-ways have no tag.
            assert!(tag.is_none_or(|tag| tag.to_le_bytes() == number && *tag >= self.told));
            self.notes += 1;
            return;
        }
        let Event::Done { tag, outcome: Outcome::Reply(reply) } = event else {
            panic!("{event:?}");
        };
        assert_eq!(tag, self.told, "told twice, or not at all, or out of order");
        assert_eq!(reply.bytes().len(), B / 2 - 24);
        assert_eq!(reply.bytes().first_chunk(), Some(&tag.to_le_bytes()));
        self.told += 1;
    }
}

/// Both sides send as fast as they can for this time, with requests made while handling events.
fn press<const S: usize, const B: usize>(time: Duration) {
    let mut worker = Worker::<u64, _, S, B>::start(over::fork(handle)).unwrap();
    let sockets = fds::open();
    for fd in sockets {
        // SAFETY: it was open a moment ago, and nothing else closes it.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        // Only the worker's socket accepts this option.
        _ = set_socket_send_buffer_size(fd, 1);
    }
    worker.try_send(Call::new(SMALL_BUFFER, &[])).unwrap();
    let (mut ledger, end) = (Ledger::default(), Instant::now() + time);
    while Instant::now() < end {
        ledger.press(&mut worker);
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            ledger.note::<B>(event);
            ledger.press(&mut worker);
        }
        sleep(&worker);
    }
    let left = Instant::now() + Duration::from_secs(30);
    worker.stop(left, |event| ledger.note::<B>(event));
    assert_eq!(ledger.told, ledger.made, "one outcome for each request taken");
    let counters = worker.counters();
    assert_eq!(counters.one_ways_lost + counters.one_ways_refused + counters.stray_replies, 0);
    assert_eq!(worker.one_ways_under_way(), 0);
    let Ledger { made, one_ways, notes, .. } = ledger;
    println!(
        "{S} slots, {B} bytes: {made} requests, {one_ways} one-ways, {notes} notes, {counters:?}"
    );
    assert!(notes > 100 && notes + counters.notes_dropped == (made + one_ways) * 2);
    assert!(made > 100 && one_ways > 100, "{made} requests, {one_ways} one-ways");
}

fn both_sides_send_as_hard_as_they_can_and_none_waits_for_ever() {
    let time = Duration::from_millis(2500);
    press::<1, 256>(time);
    press::<2, 256>(time);
    press::<4, 16384>(time);
    press::<64, 65536>(time);
}

/// Lets main turn under a flood, with calls that allow `reply_fds` descriptors each. Returns the
/// most work done by a turn, and by taking all events after it.
fn flooded(method: u16, reply_fds: u16) -> [Stretch; 2] {
    const TURNS: usize = 300;
    let list = stretches(|| {
        let start = over::fork(handle).restart(Restart::AT_ONCE);
        let mut worker = Worker::<u64, _, 4, NARROW>::start(start).unwrap();
        let call = Call::new(method, &[]).reply_fds(reply_fds);
        worker.try_call(call, 0).unwrap();
        let before = fds::open().len();
        let mut tag = 1;
        for _ in 0..TURNS {
            sleep(&worker);
            if method == FDS {
                // Like kernels before 6.16.
                fds::pass_rights(fds::own_socket(), true);
            }
            mark();
            worker.turn(Instant::now());
            mark();
            while worker.next_event().is_some() {
                // For the current worker or the next one.
                tag += u64::from(worker.try_call(call, tag).is_ok());
            }
            mark();
        }
        worker.turn(Instant::now());
        while worker.next_event().is_some() {}
        // Room for descriptors of half a frame, and for those of a new process.
        let most = before + usize::from(reply_fds) + 8;
        assert!(fds::open().len() <= most, "descriptors leak");
        drop(worker);
    });
    assert!(list.len() >= 3 * TURNS, "{}", list.len());
    let most = |of: usize| {
        let stretches = || list.iter().skip(of).step_by(3);
        let calls = stretches().map(|stretch| stretch.calls).max().unwrap();
        let received = stretches().map(|stretch| stretch.received).max().unwrap();
        Stretch { calls, received }
    };
    let total: usize = list.iter().map(|stretch| stretch.received).sum();
    println!("{method}: a turn {:?}, events {:?}, {total} bytes in all", most(0), most(1));
    [most(0), most(1)]
}

/// A send, a receive, a check of the process, and a change of the watched events.
const CALLS: usize = 4;

/// Once per worker: accept the allowed descriptors.
const ASKS: usize = 1;

fn a_flood_of_frames_does_not_hold_turn() {
    over::only_the_socket();
    for method in [STRAYS, WORDS, GUESSES, BYTEWISE, NOTES] {
        let [turn, events] = flooded(method, 0);
        assert!(turn.calls <= CALLS && turn.received <= NARROW, "{method}: {turn:?}");
        assert!(method == BYTEWISE || turn.received > NARROW / 2, "{method}: no flood: {turn:?}");
        assert_eq!(events, Stretch::default(), "{method}: no I/O");
    }
}

fn a_flood_of_garbage_does_not_hold_turn() {
    over::only_the_socket();
    let [turn, events] = flooded(GARBAGE, 0);
    // The worker is replaced: a fork, its barrier and its watched descriptors.
    assert!(turn.calls <= 64 && turn.received <= NARROW, "{turn:?}");
    assert!(turn.received > NARROW / 2, "no flood: {turn:?}");
    assert_eq!(events, Stretch::default());
}

fn a_flood_of_descriptors_does_not_hold_turn() {
    over::only_the_socket();
    // The kernel drops descriptors that no call allows.
    let [turn, events] = flooded(FDS, 0);
    assert!(turn.calls <= CALLS && turn.received <= NARROW, "{turn:?}");
    assert_eq!(events, Stretch::default(), "there is no descriptor to close");
    let [turn, events] = flooded(FDS, 253);
    // Descriptors that belong to no request are closed, with one call each.
    assert!(turn.calls <= CALLS + ASKS + 253 && turn.received <= NARROW, "{turn:?}");
    assert!((253..=2 * 253).contains(&events.calls), "{events:?}");
}

cases! {
    both_sides_send_as_hard_as_they_can_and_none_waits_for_ever,
    a_flood_of_frames_does_not_hold_turn,
    a_flood_of_garbage_does_not_hold_turn,
    a_flood_of_descriptors_does_not_hold_turn,
}
