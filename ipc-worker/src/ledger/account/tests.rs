//! The account against a model, with words that a hostile worker writes, and with killed processes.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::collections::HashMap;
use std::vec::Vec;

use ipc_frame::{Header, Queue};

use super::*;
use crate::ledger::{Geometry, PAGE};

const SLOTS: usize = 5;

/// miri takes its time.
const STEPS: u64 = if cfg!(miri) { 600 } else { 20_000 };

fn id(slot: u64, generation: u64) -> RequestId {
    RequestId::from_wire(slot | generation << u32::BITS).unwrap()
}

/// Requests that were accepted, each with its own frame.
struct Requests(Queue<64, 1>);

impl Requests {
    fn next(&mut self, id: RequestId, is_one_way: bool) -> UnderWay {
        let frame = self.0.push(Header::request(1, id.to_wire()), &[]).unwrap();
        self.0.retire(frame);
        UnderWay { is_one_way, ..UnderWay::plain(id, frame) }
    }
}

/// A pseudo-random sequence that is the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

fn words(geometry: Geometry) -> Vec<AtomicU32> {
    (0..geometry.page_len()).map(|_| AtomicU32::new(0)).collect()
}

const fn geometry(count: usize) -> Geometry {
    Geometry { slots: SLOTS, count, words_each: PAGE }
}

/// A request in flight, or one that main has given up while its handler still runs.
struct Asked {
    block: usize,
    frame: FrameNumber,
    filler: u8,
    is_under_way: bool,
    runs: bool,
}

fn check(arena: Arena<'_>, asked: &HashMap<u64, Asked>) {
    for (wire, asked) in asked {
        let block = arena.block(asked.block).unwrap();
        let mut bytes = [0; 9];
        assert_eq!(block.bytes().read_at(0, &mut bytes), 5);
        assert_eq!(bytes[..5], [asked.filler; 5], "another request's bytes");
        if asked.is_under_way {
            let found = arena.of(RequestId::from_wire(*wire).unwrap());
            assert_eq!(found.unwrap().bytes().len(), 5);
        }
    }
}

#[test]
fn no_two_requests_and_handlers_have_one_block_at_the_same_time() {
    let (mut numbers, mut full, mut requests) = (Numbers(1), 0, Requests(Queue::new()));
    let words = words(geometry(3));
    let arena = Arena { words: &words, geometry: geometry(3) };
    let mut account = Account::<3>::NEW;
    account.begin(arena, &|_| false);
    let mut asked: HashMap<u64, Asked> = HashMap::new();
    let mut generations = [0; SLOTS];
    for step in 0..STEPS {
        let slot = numbers.below(SLOTS as u64);
        let generation: &mut u64 = &mut generations[usize::try_from(slot).unwrap()];
        let wire = id(slot, *generation).to_wire();
        let held = |asked: &HashMap<u64, Asked>, id: RequestId| {
            asked.get(&id.to_wire()).is_some_and(|asked| asked.is_under_way)
        };
        match numbers.below(6) {
            // A request is accepted.
            0 | 1 if !asked.contains_key(&wire) => {
                let filler = u8::try_from(step % 256).unwrap();
                let payload: &[&[u8]] = &[&[filler; 3], &[filler; 2]];
                let Some(block) = account.find(arena, &|id| held(&asked, id)) else {
                    assert_eq!(asked.len(), 3);
                    full += 1;
                    continue;
                };
                let request = requests.next(id(slot, *generation), false);
                let frame = request.frame;
                account.lend(arena, Some(block), payload, &request);
                let new = Asked { block, frame, filler, is_under_way: true, runs: false };
                asked.insert(wire, new);
            }
            // A handler begins.
            2 => {
                if let Some(asked) = asked.get_mut(&wire).filter(|it| it.is_under_way) {
                    asked.runs = true;
                    arena.block(asked.block).unwrap().hold().unwrap().take();
                }
            }
            // A handler returns.
            3 => {
                let running = asked.iter().find(|(_, asked)| asked.runs).map(|(wire, _)| *wire);
                if let Some(running) = running {
                    let asked_of = asked.get_mut(&running).unwrap();
                    asked_of.runs = false;
                    arena.block(asked_of.block).unwrap().hold().unwrap().release();
                    if !asked_of.is_under_way {
                        asked.remove(&running);
                    }
                }
            }
            // A request gets its outcome.
            4 => {
                if let Some(asked_of) = asked.get_mut(&wire).filter(|it| it.is_under_way) {
                    *generation += 1;
                    asked_of.is_under_way = false;
                    let is_cancelled = asked_of.runs || numbers.below(2) == 0;
                    let how = if asked_of.runs { How::Running } else { How::NotBegun };
                    let ending =
                        if is_cancelled { Ending::Cancelled(how) } else { Ending::Replied };
                    let returned = account.take_back(arena, asked_of.frame, ending);
                    assert_eq!(returned.is_some(), !is_cancelled);
                    if !asked_of.runs {
                        asked.remove(&wire);
                    }
                }
            }
            // The worker dies after it has written arbitrary values.
            5 if step % 10 == 0 => {
                let words = arena.words.iter().take(PAGE);
                words.for_each(|word| {
                    word.store(u32::try_from(step).unwrap(), Relaxed);
                });
                asked.values_mut().for_each(|asked| asked.runs = false);
                asked.retain(|_, asked| asked.is_under_way);
                account.bury(arena, true);
                account.begin(arena, &|id| held(&asked, id));
            }
            _ => {}
        }
        check(arena, &asked);
    }
    assert!(full > STEPS / 200, "{full}");
}

fn hold(arena: Arena<'_>, number: usize) -> Hold<'_> {
    arena.block(number).unwrap().hold().unwrap()
}

#[test]
fn what_a_killed_process_used_is_not_lent_before_it_is_gone() {
    let words = words(geometry(2));
    let arena = Arena { words: &words, geometry: geometry(2) };
    let (mut account, mut requests) = (Account::<2>::NEW, Requests(Queue::new()));
    account.begin(arena, &|_| false);
    // Sent again to the next worker, which answers; the process before it has not ended.
    let request = requests.next(id(0, 0), false);
    account.lend(arena, Some(0), &[], &request);
    hold(arena, 0).take();
    account.bury(arena, false);
    account.begin(arena, &|_| true);
    hold(arena, 0).take();
    hold(arena, 0).release();
    assert!(account.take_back(arena, request.frame, Ending::Replied).is_some());
    assert_eq!(account.find(arena, &|_| false), Some(1));
    assert!(account.all_gone() && !account.all_gone());
    assert_eq!(account.find(arena, &|_| false), Some(0));
}

/// Its block was lent before the next worker began.
#[test]
fn repro_a_lost_requests_block_is_not_lent_while_its_process_may_write_to_it() {
    let endings = [
        Ending::Lost(How::Running),
        Ending::SetAside(How::Running),
        Ending::Cancelled(How::NotBegun),
    ];
    for (is_one_way, ending) in
        endings.map(|ending| (false, ending)).into_iter().chain([(true, Ending::Replied)])
    {
        let words = words(geometry(1));
        let arena = Arena { words: &words, geometry: geometry(1) };
        let (mut account, mut requests) = (Account::<1>::NEW, Requests(Queue::new()));
        account.begin(arena, &|_| false);
        let request = requests.next(id(0, 0), is_one_way);
        account.lend(arena, Some(0), &[], &request);
        hold(arena, 0).take();
        account.bury(arena, false);
        account.take_back(arena, request.frame, ending);
        assert_eq!(account.find(arena, &|_| false), None, "{ending:?}");
        account.begin(arena, &|_| false);
        assert_eq!(account.find(arena, &|_| false), None, "{ending:?}");
        assert!(account.all_gone());
        assert_eq!(account.find(arena, &|_| false), Some(0));
    }
}

/// While one killed process did not end, each later death cost a block.
#[test]
fn repro_a_process_that_does_not_end_keeps_its_own_blocks_only() {
    let words = words(geometry(2));
    let arena = Arena { words: &words, geometry: geometry(2) };
    let (mut account, mut requests) = (Account::<2>::NEW, Requests(Queue::new()));
    for (generation, block) in [(0, 0), (1, 1), (2, 1)] {
        account.begin(arena, &|_| false);
        let request = requests.next(id(0, generation), false);
        assert_eq!(account.find(arena, &|_| false), Some(block));
        account.lend(arena, Some(block), &[], &request);
        hold(arena, block).take();
        account.bury(arena, generation > 0);
        account.take_back(arena, request.frame, Ending::Lost(How::Running));
    }
    account.begin(arena, &|_| false);
    assert_eq!(account.find(arena, &|_| false), Some(1));
}

#[test]
fn only_the_block_of_a_request_that_was_given_up_waits_for_its_handler() {
    let words = words(geometry(1));
    let arena = Arena { words: &words, geometry: geometry(1) };
    let (mut account, mut requests) = (Account::<1>::NEW, Requests(Queue::new()));
    account.begin(arena, &|_| false);
    let endings = [
        (Ending::Replied, false),
        (Ending::Refused, false),
        (Ending::Cancelled(How::NotBegun), false),
        (Ending::Cancelled(How::Running), true),
        (Ending::DeadlinePassed(How::Done), true),
    ];
    for (generation, (ending, is_given_up)) in (0..).zip(endings) {
        let request = requests.next(id(0, generation), false);
        account.lend(arena, Some(0), &[], &request);
        assert_eq!(account.find(arena, &|_| false), None, "its outcome is not told");
        hold(arena, 0).take();
        account.take_back(arena, request.frame, ending);
        let free = (!is_given_up).then_some(0);
        assert_eq!(account.find(arena, &|_| false), free, "{ending:?}");
        hold(arena, 0).release();
        assert_eq!(account.find(arena, &|_| false), Some(0));
    }
    account.lend(arena, Some(0), &[], &requests.next(id(0, 9), true));
    assert_eq!(account.find(arena, &|_| true), None);
    assert_eq!(account.find(arena, &|_| false), Some(0), "it is done");
    account.begin(arena, &|_| false);
    assert_eq!(account.find(arena, &|_| true), Some(0), "a later request with its id is another");
}

#[test]
fn a_request_that_ended_with_its_worker_gets_its_payload_back() {
    let words = words(geometry(1));
    let arena = Arena { words: &words, geometry: geometry(1) };
    let (mut account, mut requests) = (Account::<1>::NEW, Requests(Queue::new()));
    for (generation, ending) in [(0, Ending::Lost(How::Done)), (1, Ending::SetAside(How::Running))]
    {
        let request = requests.next(id(0, generation), false);
        account.lend(arena, Some(0), &[b"pay", b"load"], &request);
        assert!(arena.block(0).unwrap().set_reply(2));
        account.begin(arena, &|_| false);
        assert!(arena.of(request.id).is_none(), "no worker has it");
        assert_eq!(account.find(arena, &|_| false), None, "its outcome is not told");
        let returned = account.take_back(arena, request.frame, ending).unwrap();
        assert_eq!(returned.len(), 7);
        assert_eq!(account.find(arena, &|_| false), Some(0));
        assert!(account.take_back(arena, request.frame, ending).is_none(), "once");
    }
}
