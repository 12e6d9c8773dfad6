//! Room that one-way requests take, and how main learns that it is back.

use ipc_transport::Loopback;

use super::*;

const CALL: Call<'_> = Call::new(1, &[b"bytes"]);

/// A caller with one slot, which a one-way takes that was sent.
fn full(slots: &Slots) -> (Caller<u32, 1, 256>, RequestId) {
    let mut caller = Caller::new();
    let id = caller.send(&CALL, Some(slots)).unwrap();
    let mut loopback = Loopback::<256>::new();
    let (mut ours, _theirs) = loopback.ends();
    caller.outbox.flush(&mut ours).unwrap();
    (caller, id)
}

#[test]
fn what_was_finished_before_the_worker_was_asked_is_seen_before_main_sleeps() {
    let slots = Slots::new(1).unwrap();
    let (mut caller, id) = full(&slots);
    slots.claim(id).unwrap().finish(Finish::Done);
    assert!(!slots.take_ask(), "the worker looks before main asks");
    assert!(!caller.has_regained(Some(&slots)), "nobody lacks room");
    assert!(!caller.has_room_for(0, 0, Some(&slots)));
    assert!(caller.has_regained(Some(&slots)), "main would sleep for ever");
    caller.begin_turn();
    caller.reclaim(Some(&slots));
    assert!(caller.has_regained(Some(&slots)), "no event tells that there is room");
    assert!(caller.has_room_for(0, 0, Some(&slots)));
    caller.begin_turn();
    assert!(!caller.has_regained(Some(&slots)), "it was seen");
}

#[test]
fn a_worker_that_sees_the_question_answers_it() {
    let slots = Slots::new(1).unwrap();
    let (mut caller, id) = full(&slots);
    assert_eq!(caller.send(&CALL, Some(&slots)), Err(Why::Full));
    assert!(!caller.has_regained(Some(&slots)), "main sleeps");
    slots.claim(id).unwrap().finish(Finish::Refused);
    assert!(slots.take_ask());
    assert!(!caller.has_regained(Some(&slots)), "the worker's frame is on its way");
    assert!(caller.send(&CALL, Some(&slots)).is_ok());
    assert_eq!(caller.counters.one_ways_refused, 1);
}

#[test]
fn room_that_a_deadline_gives_back_wakes_too() {
    let slots = Slots::new(1).unwrap();
    let (mut caller, _) = full(&slots);
    caller.lose_all(None);
    let at = Instant::from_nanoseconds(5);
    caller.send(&CALL.deadline(at), Some(&slots)).unwrap();
    assert!(!caller.has_room_for(0, 0, Some(&slots)));
    caller.expire(at, Some(&slots));
    assert!(caller.has_regained(Some(&slots)));
    let Counters { one_ways_lost, one_ways_expired, .. } = caller.counters;
    assert_eq!((one_ways_lost, one_ways_expired), (1, 1));
}

#[test]
fn a_word_that_lies_about_what_was_not_sent_is_not_believed() {
    let slots = Slots::new(1).unwrap();
    let mut caller = Caller::<u32, 1, 256>::new();
    let id = caller.send(&CALL, Some(&slots)).unwrap();
    slots.claim(id).unwrap().finish(Finish::Done);
    caller.reclaim(Some(&slots));
    assert_eq!(caller.table.one_ways(), 1);
    assert_eq!(caller.settle_fates(&slots, 0), 0, "kept, and not as one that was sent");
    assert_eq!(caller.table.one_ways(), 1);
}

#[test]
fn repro_a_question_outlives_the_worker_that_was_asked() {
    let slots = Slots::new(1).unwrap();
    let (mut caller, id) = full(&slots);
    assert!(!caller.has_room_for(0, 0, Some(&slots)));
    // That worker is gone before it began. There is none for a while, and then another.
    caller.settle_fates(&slots, 0);
    caller.begin_anew();
    let next = Slots::new(1).unwrap();
    caller.queue_all(&next);
    next.claim(id).unwrap().finish(Finish::Done);
    assert!(next.take_ask(), "main would sleep for ever");
}

#[test]
fn repro_a_lie_about_what_was_not_sent_is_not_counted_as_done() {
    let slots = Slots::new(1).unwrap();
    let mut caller = Caller::<u32, 1, 256>::new();
    let at = Instant::from_nanoseconds(5);
    let id = caller.send(&CALL.deadline(at), Some(&slots)).unwrap();
    slots.claim(id).unwrap().finish(Finish::Refused);
    caller.expire(at, Some(&slots));
    let Counters { one_ways_refused, one_ways_expired, .. } = caller.counters;
    assert_eq!((one_ways_refused, one_ways_expired), (0, 1));
}

/// A message that says it has written more than there was room for.
struct Boaster(usize);

impl Encode for Boaster {
    fn encoded_len(&self) -> Result<usize, ipc_frame::EncodeError> {
        Ok(1)
    }

    fn encode(&self, _space: &mut [u8]) -> Result<usize, ipc_frame::EncodeError> {
        Ok(self.0)
    }
}

#[test]
fn repro_a_message_that_boasts_of_its_length_is_not_taken() {
    let mut caller = Caller::<u32, 1, 256>::new();
    for len in [2, 300, usize::MAX] {
        let why = caller.send(&Call::message(1, &Boaster(len)), None);
        assert_eq!(why, Err(Why::Unencodable), "{len}");
    }
    assert!(caller.send(&Call::message(1, &Boaster(1)), None).is_ok());
}
