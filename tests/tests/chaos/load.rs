//! The load: requests and one-ways of all kinds, with the outcomes that main was told.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use ipc_tests::fds;
use ipc_tests::forked::soon;
use ipc_tests::random::Random;
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{Again, Call, Event, How, Instant, Lost, Outcome};

use crate::crew::Crew;
use crate::handler::{ECHO, HEAD, PIPES, REFUSE, REFUSED, SLOW};
use crate::record::{self, Record, What};

/// The number of requests that only check whether a worker is there.
pub(crate) const GREETING: u32 = u32::MAX;

/// A request's outcome, as told to main.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Reply,
    Refused,
    Lost(How),
    SetAside(How),
    Late,
    Cancelled,
}

/// A request that was accepted; its number is its index in the list.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) method: u16,
    pub(crate) bytes: Vec<u8>,
    pub(crate) files: Vec<u64>,
    pub(crate) reply_fds: u8,
    pub(crate) again: Again,
    pub(crate) tries: u8,
    pub(crate) deadline: Option<Instant>,
    pub(crate) is_one_way: bool,
    pub(crate) is_cancelled: bool,
    pub(crate) told: Option<Told>,
}

/// What happened to the workers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Life {
    pub(crate) deaths: usize,
    pub(crate) starts: usize,
    pub(crate) failures: usize,
}

/// Makes requests, and records their outcomes.
#[derive(Debug)]
pub(crate) struct Load<Id> {
    random: Random,
    /// Files sent with requests; each can be told from the others.
    files: Vec<OwnedFd>,
    record: File,
    /// Requests that will be cancelled.
    doomed: Vec<(u32, Id)>,
    pub(crate) made: Vec<Made>,
    pub(crate) life: Life,
}

const FILES: usize = 6;

impl<Id: Copy> Load<Id> {
    pub(crate) fn new(home: &Path, random: Random) -> Self {
        let files = (0..FILES).map(|_| fds::file()).collect();
        let (record, life) = (record::open(home).unwrap(), Life::default());
        Self { random, files, record, doomed: Vec::new(), made: Vec::new(), life }
    }

    /// Makes some requests.
    pub(crate) fn make<C: Crew<Id = Id>>(&mut self, crew: &mut C) {
        for _ in 0..self.random.below(6) {
            let method = [ECHO, ECHO, SLOW, REFUSE, PIPES][self.random.below(5)];
            if !self.make_one(crew, method) {
                return;
            }
        }
    }

    /// Makes a request of any kind with the given method. Returns whether it was accepted.
    pub(crate) fn make_one<C: Crew<Id = Id>>(&mut self, crew: &mut C, method: u16) -> bool {
        let number = u32::try_from(self.made.len()).unwrap();
        let random = &mut self.random;
        let grades = [Again::IfNotBegun, Again::UntilDone, Again::UntilAnswered, Again::Never];
        let (again, tries) = (grades[random.below(4)], u8::try_from(1 + random.below(3)).unwrap());
        let count = if random.one_in(3) { 1 + random.below(FILES) } else { 0 };
        let chosen: Vec<&OwnedFd> = (0..count).map(|_| &self.files[random.below(FILES)]).collect();
        let files: Vec<u64> = chosen.iter().map(fds::id_of).collect();
        let is_one_way = random.one_in(6);
        let has_pipes = method == PIPES && !is_one_way;
        let reply_fds = if has_pipes { u8::try_from(random.below(4)).unwrap() } else { 0 };
        let [pause, filler] =
            [random.below(4), random.below(256)].map(|n| u8::try_from(n).unwrap());
        let len = if random.one_in(10) { random.below(3000) } else { random.below(200) };
        let [n0, n1, n2, n3] = number.to_le_bytes();
        let head = [n0, n1, n2, n3, u8::try_from(count).unwrap(), reply_fds, pause, filler];
        let mut bytes = head.to_vec();
        bytes.extend(files.iter().flat_map(|id| id.to_le_bytes()));
        bytes.resize(bytes.len() + len, filler);
        let is_hurried = random.one_in(6);
        let deadline = Duration::from_millis(random.next() % 30);
        let deadline = is_hurried.then(|| Instant::now() + deadline);
        let fds: Vec<_> = chosen.iter().map(AsFd::as_fd).collect();
        let pieces = [&bytes[..]];
        let mut call = Call::new(method, &pieces).fds(&fds).again(again).tries(tries);
        call.reply_fds = reply_fds.into();
        call.deadline = deadline;
        call.key = random.one_in(2).then(|| random.next());
        let taken = match is_one_way {
            true => crew.try_send(call).is_ok(),
            false => crew.try_call(call, number).is_ok_and(|id| {
                if random.one_in(12) {
                    self.doomed.push((number, id));
                }
                true
            }),
        };
        if taken {
            let (is_cancelled, told) = (false, None);
            self.made.push(Made {
                method,
                bytes,
                files,
                reply_fds,
                again,
                tries,
                deadline,
                is_one_way,
                is_cancelled,
                told,
            });
        }
        taken
    }

    /// Cancels some of the requests chosen for it.
    pub(crate) fn cancel_some<C: Crew<Id = Id>>(&mut self, crew: &mut C) {
        let Self { random, doomed, made, .. } = self;
        doomed.retain(|&(number, id)| {
            if !random.one_in(4) {
                return true;
            }
            let made = &mut made[usize::try_from(number).unwrap()];
            let is_cancelled = crew.cancel(id);
            assert_eq!(is_cancelled, made.told.is_none(), "{number}: {made:?}");
            made.is_cancelled = is_cancelled;
            false
        });
    }

    /// Records an event of the worker with this pid.
    pub(crate) fn note(&mut self, pid: Option<i32>, event: Event<'_, u32>) {
        let (tag, outcome) = match event {
            Event::Done { tag, outcome } => (tag, outcome),
            Event::Died(_) => return self.life.deaths += 1,
            Event::Started { .. } => return self.life.starts += 1,
            Event::NotStarted(_) => return self.life.failures += 1,
            other => panic!("{other:?}"),
        };
        let made = &mut self.made[usize::try_from(tag).unwrap()];
        let told = told(tag, made, outcome);
        assert_eq!(made.told.replace(told), None, "{tag} has two outcomes: {made:?}");
        let pid = pid.map_or(0, |pid| u32::try_from(pid).unwrap());
        record::add(&self.record, Record { number: tag, what: What::Told, pid });
    }

    /// Calls each worker, by its key, until every one has replied.
    pub(crate) fn greet<C: Crew<Id = Id>>(&mut self, crew: &mut C) {
        let limit = soon();
        for key in 0..crew.workers().len() {
            let [n0, n1, n2, n3] = GREETING.to_le_bytes();
            let bytes = [n0, n1, n2, n3, 0, 0, 0, 0];
            let pieces = [&bytes[..]];
            // On a busy machine its worker may be killed for being overdue.
            let call = Call::new(ECHO, &pieces).again(Again::UntilAnswered).tries(u8::MAX);
            let call = call.key(u64::try_from(key).unwrap());
            crew.try_call(call, GREETING).unwrap_or_else(|error| panic!("{error}"));
            let mut is_told = false;
            while !is_told {
                assert!(Instant::now() < limit, "{:?}", crew.workers());
                crew.turn(Instant::now());
                while let Some((_, event)) = crew.next_event() {
                    match event {
                        Event::Done { tag: GREETING, outcome: Outcome::Reply(_) } => is_told = true,
                        Event::Died(_) | Event::Started { .. } | Event::NotStarted(_) => {}
                        other => panic!("{other:?}"),
                    }
                }
                if !is_told {
                    let next = crew.next_deadline().map_or(limit, |next| next.min(limit));
                    wait(&mut [Watched::new(crew.as_fd(), Interest::Input)], Some(next)).unwrap();
                }
            }
        }
    }
}

/// Checks that an outcome belongs to this request, complete and with the right descriptors.
fn told(number: u32, made: &Made, outcome: Outcome<'_>) -> Told {
    match outcome {
        Outcome::Reply(mut reply) => {
            let (own, rest) = reply.bytes().split_first_chunk().unwrap();
            assert_eq!(u32::from_le_bytes(*own), number, "another's reply: {made:?}");
            let filler = &made.bytes[HEAD + 8 * made.files.len()..];
            assert_eq!(rest, if made.method == ECHO { filler } else { &[] }, "{number}");
            assert_eq!(reply.fd_count(), usize::from(made.reply_fds), "{number}: {made:?}");
            while let Some(pipe) = reply.take_fd() {
                let mut from = [0; 4];
                File::from(pipe).read_exact(&mut from).unwrap();
                assert_eq!(u32::from_le_bytes(from), number, "another's descriptor: {made:?}");
            }
            Told::Reply
        }
        Outcome::Refused(refusal) => {
            assert_eq!((made.method, refusal.code), (REFUSE, REFUSED), "{number}: {refusal}");
            Told::Refused
        }
        Outcome::Lost(lost) => {
            check_given_back(number, made, &lost);
            Told::Lost(lost.how)
        }
        Outcome::SetAside(lost) => {
            check_given_back(number, made, &lost);
            Told::SetAside(lost.how)
        }
        Outcome::DeadlinePassed => {
            assert!(made.deadline.is_some_and(|at| at <= Instant::now()), "{number}: {made:?}");
            Told::Late
        }
        Outcome::Cancelled => {
            assert!(made.is_cancelled, "{number}: {made:?}");
            Told::Cancelled
        }
        other => panic!("{number}: {other:?}"),
    }
}

fn check_given_back(number: u32, made: &Made, lost: &Lost<'_>) {
    assert_eq!((lost.method(), lost.bytes()), (made.method, &made.bytes[..]), "{number}");
    let files: Vec<u64> = lost.fds().map(fds::id_of).collect();
    assert_eq!(files, made.files, "{number}");
}
