//! One-way requests whose room is freed, requests that are given back, and hostile peers.

#![expect(unsafe_code, reason = "a caller is created in a box")]

use core::sync::atomic::AtomicU32;
use std::boxed::Box;
use std::fs::File;

use ipc_frame::EncodeError;
use ipc_transport::Loopback;
use rustix::fd::AsFd;

use super::*;
use crate::event::Outcome;
use crate::ledger::{Again, Ending};

const CALL: Call<'_> = Call::new(1, &[b"bytes"]);

type Small<const SLOTS: usize> = Caller<u32, SLOTS, 256>;

impl<Tag, const SLOTS: usize, const BYTES: usize> Caller<Tag, SLOTS, BYTES> {
    pub(crate) fn boxed() -> Box<Self> {
        let mut caller = Box::new_uninit();
        Self::init(&mut caller);
        // SAFETY: `init` has written every field.
        unsafe { caller.assume_init() }
    }

    pub(crate) fn call(
        &mut self,
        call: &Call<'_>,
        tag: Tag,
        words: Words<'_>,
    ) -> Result<RequestId, Why> {
        let id = self.take(call, Kind::Request, words)?;
        self.table.tag(id, tag);
        Ok(id)
    }

    pub(crate) fn send(&mut self, call: &Call<'_>, words: Words<'_>) -> Result<RequestId, Why> {
        self.take(call, Kind::OneWay, words)
    }
}

fn page() -> [AtomicU32; 4] {
    core::array::from_fn(|_| AtomicU32::new(0))
}

/// Discards everything queued, as if it was sent.
fn flush<const SLOTS: usize>(caller: &mut Small<SLOTS>) {
    let mut loopback = Loopback::<4096>::new();
    let (mut ours, _theirs) = loopback.ends();
    assert!(caller.outbox.flush_with(&mut ours).unwrap().complete);
}

/// Passes the caller a frame as if a worker had sent it.
fn feed<const SLOTS: usize>(caller: &mut Small<SLOTS>, header: Header) {
    let header = header.encode_with(0, 0, 0).unwrap();
    caller.inbox.space()[..header.len()].copy_from_slice(&header);
    caller.inbox.filled(header.len(), &mut FdList::<FDS>::new().fds());
    assert!(caller.next_answer().unwrap().is_none(), "no outcome");
}

#[test]
fn one_frame_frees_every_one_way_up_to_the_one_that_it_names() {
    let (page, mut caller) = (page(), Small::<4>::boxed());
    let words = Words(&page);
    let ids = [0; 3].map(|_| caller.send(&CALL, words).unwrap());
    caller.call(&CALL, 7, words).unwrap();
    assert!(!caller.has_room_for(0, 0) && !caller.last.regained);
    flush(&mut caller);
    feed(&mut caller, Header::done(ids[1].to_wire()));
    assert_eq!((caller.table.one_ways(), caller.table.under_way()), (1, 2));
    assert!(caller.has_room_for(0, 0) && caller.last.regained, "no event reports it");
    caller.last.regained = false;
    feed(&mut caller, Header::done(ids[2].to_wire()));
    assert_eq!((caller.table.one_ways(), caller.table.in_use()), (0, 1));
    feed(&mut caller, Header::done(ids[2].to_wire()));
    assert_eq!(caller.last.counters.stray_replies, 1, "it was freed before");
}

#[test]
fn what_was_given_up_runs_until_its_answer_comes_or_a_later_one_begins() {
    for answers in [true, false] {
        let (page, mut caller) = (page(), Small::<4>::boxed());
        let words = Words(&page);
        let late = CALL.deadline(Instant::PAST);
        let [first, second, third] =
            [&CALL, &late, &CALL].map(|call| caller.call(call, 0, words).unwrap());
        flush(&mut caller);
        let running = |caller: &mut Small<4>| caller.running(words).map(|request| request.id);
        assert_eq!(running(&mut caller), Some(first));
        // The answer of the first waits for the end of the batch.
        words.claim(first).unwrap().done();
        words.claim(second).unwrap();
        // In either order.
        if answers {
            caller.expire(Instant::PAST, words);
        }
        assert!(caller.cancel(first, words));
        caller.expire(Instant::PAST, words);
        assert_eq!((running(&mut caller), caller.load()), (Some(second), 4));
        feed(&mut caller, Header::reply(first.to_wire()));
        assert_eq!(running(&mut caller), Some(second));
        if answers {
            feed(&mut caller, Header::refusal(second.to_wire()));
        } else {
            words.claim(third).unwrap();
        }
        assert_eq!((running(&mut caller), caller.load()), (Some(third), 3));
        assert!(caller.cancel(third, words));
        assert_eq!(running(&mut caller), Some(third).filter(|_| !answers), "it had begun");
        caller.begin_anew();
        assert_eq!(running(&mut caller), None);
    }
}

#[test]
fn a_lie_about_what_was_not_sent_frees_nothing() {
    let mut caller = Small::<2>::boxed();
    let id = caller.send(&CALL, Words::default()).unwrap();
    feed(&mut caller, Header::done(id.to_wire()));
    feed(&mut caller, Header::refusal(id.to_wire()));
    assert_eq!((caller.table.one_ways(), caller.last.counters.stray_replies), (1, 2));
    assert_eq!(caller.last.counters.one_ways_refused, 0);
}

#[test]
fn a_request_that_wants_an_outcome_is_not_freed_by_a_frame_for_one_ways() {
    let mut caller = Small::<2>::boxed();
    let id = caller.call(&CALL, 7, Words::default()).unwrap();
    flush(&mut caller);
    feed(&mut caller, Header::done(id.to_wire()));
    assert_eq!((caller.table.in_use(), caller.last.counters.stray_replies), (1, 1));
}

#[test]
fn repro_asking_for_room_changes_nothing() {
    let (page, mut caller) = (page(), Small::<1>::boxed());
    let words = Words(&page);
    let state = || page.each_ref().map(|word| word.load(Relaxed));
    caller.send(&CALL, words).unwrap();
    flush(&mut caller);
    let before = (state(), caller.last.counters);
    // A shared borrow and no words, so it can write to neither.
    let shared = &caller;
    assert!(!shared.has_room_for(0, 0) && !shared.has_room_for(1000, 300));
    assert_eq!((state(), caller.last.counters), before);
}

#[test]
fn a_deadline_gives_the_room_of_a_one_way_that_had_not_begun_back() {
    let (page, mut caller) = (page(), Small::<1>::boxed());
    let (words, at) = (Words(&page), Instant::from_nanoseconds(5));
    caller.send(&CALL.deadline(at), words).unwrap();
    flush(&mut caller);
    assert!(!caller.last.regained && caller.send(&CALL, words).is_err(), "full");
    caller.expire(at, words);
    assert!(caller.last.regained && caller.has_room_for(0, 0));
    assert_eq!(caller.last.counters.one_ways_expired, 1);
}

#[test]
fn a_late_one_way_that_runs_is_counted_once_and_keeps_its_room_until_it_is_done() {
    for header in [Header::done, Header::refusal] {
        let (page, mut caller) = (page(), Small::<1>::boxed());
        let (words, at) = (Words(&page), Instant::from_nanoseconds(5));
        let id = caller.send(&CALL.deadline(at), words).unwrap();
        flush(&mut caller);
        Words(&page).claim(id).unwrap();
        caller.expire(at, words);
        assert!(!caller.has_room_for(0, 0), "its bytes may still be read");
        feed(&mut caller, header(id.to_wire()));
        assert!(caller.has_room_for(0, 0));
        let Counters { one_ways_expired, one_ways_refused, .. } = caller.last.counters;
        assert_eq!((one_ways_expired, one_ways_refused), (1, 0));
    }
}

#[test]
fn repro_a_word_that_lies_about_what_was_not_sent_is_not_believed() {
    let (page, mut caller) = (page(), Small::<1>::boxed());
    let at = Instant::from_nanoseconds(5);
    let id = caller.send(&CALL.deadline(at), Words(&page)).unwrap();
    Words(&page).claim(id).unwrap().done();
    caller.settle_fates(Words(&page));
    caller.begin_anew();
    assert_eq!((caller.table.one_ways(), caller.resent()), (1, 0), "it is kept, but was not sent");
    caller.expire(at, Words(&page));
    assert_eq!((caller.table.one_ways(), caller.last.counters.one_ways_expired), (0, 1));
}

#[test]
fn a_lost_request_is_given_back_whole_and_its_room_after_that() {
    let (page, mut caller) = (page(), Small::<1>::boxed());
    let null = File::open("/dev/null").unwrap();
    let fds = [null.as_fd(), null.as_fd()];
    let id =
        caller.call(&Call::new(9, &[b"some ", b"bytes"]).fds(&fds), 7, Words::default()).unwrap();
    caller.offer_all(Words(&page));
    flush(&mut caller);
    Words(&page).claim(id).unwrap();
    caller.settle_fates(Words(&page));
    caller.begin_anew();
    assert!(!caller.has_room_for(0, 0), "its bytes are not reported yet");
    let answer = caller.table.next_ended().unwrap();
    let (7, Outcome::Lost(mut lost)) = caller.outcome(answer, None) else { panic!() };
    assert_eq!((lost.how, lost.method(), lost.bytes()), (How::Running, 9, &b"some bytes"[..]));
    assert_eq!(lost.fds().count(), 2);
    assert!(lost.take_fd().is_some());
    assert!(!caller.last.regained);
    caller.forget_told();
    assert!(caller.last.regained && caller.has_room_for(0, 0), "no event reports it");
}

#[test]
fn a_request_that_begins_as_often_as_it_may_is_set_aside_with_its_bytes() {
    let (page, mut caller) = (page(), Small::<1>::boxed());
    let call = CALL.again(Again::UntilDone).tries(2);
    let id = caller.call(&call, 7, Words::default()).unwrap();
    for resent in [1, 0] {
        caller.offer_all(Words(&page));
        flush(&mut caller);
        Words(&page).claim(id).unwrap();
        caller.settle_fates(Words(&page));
        caller.begin_anew();
        assert_eq!(caller.resent(), resent);
    }
    let answer = caller.table.next_ended().unwrap();
    let (7, Outcome::SetAside(lost)) = caller.outcome(answer, None) else { panic!() };
    assert_eq!((lost.how, lost.bytes()), (How::Running, &b"bytes"[..]));
}

/// A message that reports a length beyond its room.
struct Boaster(usize);

impl Encode for Boaster {
    fn encoded_len(&self) -> Result<usize, EncodeError> {
        Ok(1)
    }

    fn encode(&self, _space: &mut [u8]) -> Result<usize, EncodeError> {
        Ok(self.0)
    }
}

#[test]
fn repro_a_message_that_boasts_of_its_length_is_not_taken() {
    let mut caller = Small::<1>::boxed();
    for len in [2, 300, usize::MAX] {
        let why = caller.send(&Call::message(1, &Boaster(len)), Words::default());
        assert_eq!(why, Err(Why::Unencodable), "{len}");
    }
    assert!(caller.send(&Call::message(1, &Boaster(1)), Words::default()).is_ok());
}

#[test]
fn what_was_sent_is_listed_as_the_worker_runs_it() {
    let (page, mut caller) = (page(), Small::<4>::boxed());
    let words = Words(&page);
    let sent = |caller: &Small<4>| caller.sent().map(|it| it.id).collect::<std::vec::Vec<_>>();
    let again = caller.call(&CALL.again(Again::UntilDone), 0, words).unwrap();
    flush(&mut caller);
    caller.settle_fates(words);
    caller.begin_anew();
    let first = [1, 2].map(|tag| {
        let id = caller.call(&CALL, tag, words).unwrap();
        caller.send_first(id);
        id
    });
    assert!(sent(&caller).is_empty());
    flush(&mut caller);
    let late = caller.call(&CALL, 3, words).unwrap();
    caller.send_first(late);
    flush(&mut caller);
    assert_eq!(sent(&caller), [first[0], first[1], again, late]);
    // They keep their order for the next worker.
    caller.settle_fates(words);
    caller.begin_anew();
    flush(&mut caller);
    assert_eq!(sent(&caller), [again, first[0], first[1], late]);
}

#[test]
fn deadlines_pass_once_and_in_order() {
    let mut caller = Small::<4>::boxed();
    let at = Instant::from_nanoseconds;
    for (tag, deadline) in [(1, at(30)), (2, at(10)), (3, Instant::NEVER), (4, at(10))] {
        caller.call(&CALL.deadline(deadline), tag, Words::default()).unwrap();
    }
    assert_eq!(caller.last.earliest, at(10));
    caller.expire(at(9), Words::default());
    assert_eq!(caller.table.ended(), 0);
    caller.expire(at(10), Words::default());
    assert_eq!((caller.last.earliest, caller.table.ended()), (at(30), 2));
    caller.expire(at(30), Words::default());
    assert_eq!(caller.last.earliest, Instant::NEVER);
    let told = || caller.table.next_ended().map(|told| (told.tag, told.ending));
    let told: std::vec::Vec<_> = core::iter::from_fn(told).collect();
    assert_eq!(told, [2, 4, 1].map(|tag| (tag, Ending::DeadlinePassed(How::NotBegun))));
}

#[test]
fn repro_expiry_is_linear_in_the_slots() {
    const SLOTS: usize = 60_000;
    let mut caller = Caller::<usize, SLOTS, { SLOTS * 64 }>::boxed();
    let at = Instant::from_nanoseconds(5);
    for tag in 0..SLOTS {
        caller.call(&CALL.deadline(at), tag, Words::default()).unwrap();
    }
    // Each call walks the requests in flight once, which takes milliseconds. A walk for each of
    // them would take minutes.
    let limit = Instant::now() + Duration::from_secs(60);
    caller.expire(at, Words::default());
    assert!(Instant::now() < limit, "not linear");
    assert_eq!((caller.table.ended(), caller.last.earliest), (SLOTS, Instant::NEVER));
}
