//! The intake compared with a queue, at any size; and reports of recurring faults.

use core::time::Duration;
use hosted::collections::VecDeque;
use hosted::vec::Vec;

use ipc_tests::random::Random;
use ipc_transport::Instant;

use crate::common::intake::Intake;
use crate::common::line::{Datagram, Sender};
use crate::common::quiet::{Quiet, Unsaid};

type Message = (Duration, Sender, Vec<u8>, u64);

fn message(random: &mut Random, longest: usize) -> Message {
    let mut word = || u32::try_from(random.next() >> 32).unwrap();
    let sender = match word() % 3 {
        0 => Sender::Unnamed,
        1 => Sender::Kernel,
        _ => Sender::Process([word(), word(), word()]),
    };
    let received = Duration::new(word().into(), word() % 1_000_000_000);
    let len = random.below(longest + 1);
    let bytes = (0..len).map(|_| random.next().to_le_bytes()[0]).collect();
    (received, sender, bytes, random.next())
}

fn datagram((received, sender, bytes, missing): &Message) -> Datagram<'_> {
    Datagram { received: *received, sender: *sender, bytes, missing: *missing }
}

#[test]
fn the_intake_is_a_queue_whatever_its_size() {
    let mut random = Random::new();
    for _ in 0..300 {
        let size = random.below(600);
        let longest = 1 + random.below(200);
        let (mut intake, mut model) = (Intake::new(hosted::vec![0; size]), VecDeque::new());
        for _ in 0..500 {
            if random.one_in(2) {
                let message = message(&mut random, longest);
                let has_room = intake.has_room_for(message.2.len());
                assert_eq!(intake.push(&datagram(&message)), has_room);
                if has_room {
                    model.push_back(message);
                } else {
                    // The gap between end and start is at most the longest message.
                    let held: usize = model.iter().map(|it: &Message| it.2.len() + 37).sum();
                    assert!(held + message.2.len() + 37 + 237 > size, "{held} of {size}");
                }
            } else {
                intake.pop();
                model.pop_front();
            }
            assert_eq!(intake.count(), model.len());
            let front = intake.front();
            let front = front.map(|it| (it.received, it.sender, it.bytes.to_vec(), it.missing));
            assert_eq!(front.as_ref(), model.front());
        }
        while let Some(message) = model.pop_front() {
            assert_eq!(intake.front().map(|it| it.bytes.to_vec()), Some(message.2));
            intake.pop();
        }
        assert!(intake.front().is_none());
    }
}

const T0: Instant = Instant::from_nanoseconds(1_000_000_000_000);
const NOTHING: Unsaid = Unsaid { repeated: 0, left_out: 0 };

#[test]
fn the_same_line_is_counted_for_a_while() {
    let mut quiet = Quiet::new();
    let second = Duration::from_secs(1);
    assert_eq!(quiet.may_say(b"a", T0), Some(NOTHING));
    assert_eq!(quiet.may_say(b"a", T0 + second), None);
    assert_eq!(quiet.may_say(b"a", T0 + second), None);
    assert_eq!(quiet.may_say(b"b", T0 + second), Some(Unsaid { repeated: 2, left_out: 0 }));
    assert_eq!(quiet.may_say(b"b", T0 + second), None);
    let due = quiet.deadline();
    assert_eq!(quiet.settle(T0 + second), None, "not yet");
    assert_eq!(quiet.settle(due), Some(Unsaid { repeated: 1, left_out: 0 }));
    assert_eq!(quiet.deadline(), Instant::NEVER);
    assert_eq!(quiet.may_say(b"b", due), Some(NOTHING), "after a while it is news again");
}

/// Every line is printed, or counted by a line that is printed.
#[test]
fn whatever_is_not_said_is_counted() {
    let mut random = Random::new();
    for _ in 0..50 {
        let (mut quiet, mut now) = (Quiet::new(), T0);
        let (mut lines, mut said, mut counted) = (0_u64, 0_u64, 0_u64);
        for _ in 0..5000 {
            now = now + Duration::from_millis(random.next() % 20);
            let unsaid = if random.one_in(8) {
                quiet.settle(now)
            } else {
                lines += 1;
                let unsaid = quiet.may_say(&random.below(3000).to_le_bytes(), now);
                said += u64::from(unsaid.is_some());
                unsaid
            };
            let Some(unsaid) = unsaid else { continue };
            if random.one_in(10) {
                quiet.put_back(unsaid, 0, now);
            } else {
                counted += unsaid.repeated + unsaid.left_out;
            }
        }
        let Unsaid { repeated, left_out } = quiet.say_all();
        assert_eq!(said + counted + repeated + left_out, lines);
        assert!(said < 1000 + 50_000 / 50 + 10, "{said} lines are too many");
    }
}
