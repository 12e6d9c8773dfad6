//! Main's side of a run: its random steps, and what is reported to it.

use core::time::Duration;
use std::boxed::Box;
use std::os::unix::net::UnixStream;
use std::vec::Vec as StdVec;

use ipc_transport::{Faulty, LoopbackEnd};
use rustix::fd::AsFd;

use super::model::{Model, Refused, Told};
use super::random::{CLOCK, Random, now};
use super::{RUN, WIRE};
use crate::call::{Call, Why};
use crate::caller::{Answer, Caller};
use crate::counters::Counters;
use crate::event::{Outcome, ReplyView};
use crate::ledger::{Again, Credit, How, RequestId, Words};
use crate::refusal::Refusal;

/// The method of every request, and the length of its payload after its number.
pub(super) const METHOD: u16 = 1;
pub(super) const FILLER: u8 = 7;

/// Steps after which an ending run counts as stuck.
const STUCK: u64 = 100_000;

/// Main's side, and everything that a run keeps.
pub(super) struct Main<const SLOTS: usize, const BYTES: usize> {
    pub(super) caller: Box<Caller<u32, SLOTS, BYTES>>,
    pub(super) model: Model,
    pub(super) random: Random,
    /// Every passed descriptor is a duplicate of this one.
    pub(super) token: UnixStream,
    pub(super) made: StdVec<(RequestId, u32)>,
    /// One-way requests in flight that are not counted yet.
    pub(super) one_ways: StdVec<(RequestId, u32)>,
    /// How many one-way requests were counted as lost, expired or refused at the last check.
    pub(super) counted: u64,
    pub(super) steps: u64,
    /// Workers are killed repeatedly.
    pub(super) is_stormy: bool,
}

/// Main while one worker lives, and its end of the connection until it gives up the worker.
pub(super) struct World<'l, const SLOTS: usize, const BYTES: usize> {
    pub(super) main: &'l mut Main<SLOTS, BYTES>,
    pub(super) link: Option<Faulty<LoopbackEnd<'l, WIRE>>>,
    pub(super) words: Words<'l>,
    pub(super) credit: Credit<'l>,
    /// The worker executes no further instructions.
    pub(super) is_killed: bool,
}

impl<'l, const SLOTS: usize, const BYTES: usize> World<'l, SLOTS, BYTES> {
    fn words(&self) -> Words<'l> {
        self.link.as_ref().map_or(Words::default(), |_| self.words)
    }

    pub(super) fn is_over(&self) -> bool {
        self.main.steps >= RUN && self.main.caller.table.under_way() == 0
    }

    /// Takes one random step.
    pub(super) fn step(&mut self) {
        self.main.steps += 1;
        assert!(self.main.steps < RUN + STUCK, "no end: {:?}", self.main.caller.last.counters);
        let is_ending = self.main.steps > RUN;
        match self.main.random.below(1000) {
            0..350 if !is_ending => self.take(),
            350..400 if !is_ending => self.cancel(),
            400..440 => CLOCK.set(CLOCK.get() + self.main.random.below(400_000)),
            440..750 => self.turn(),
            750..752 if !is_ending => self.is_killed = true,
            752..754 if !is_ending => self.give_up(),
            754..760 => self.ask_to_stop(),
            _ => self.main.take_outcome(self.credit),
        }
        self.main.account();
    }

    fn take(&mut self) {
        let words = self.words();
        let Main { caller, model, random, token, made, one_ways, .. } = &mut *self.main;
        let number = model.next();
        let filler = [FILLER; BYTES];
        let len = random.len(BYTES - 28);
        let pieces: [&[u8]; 2] = [&number.to_le_bytes(), &filler[..len]];
        let fds = [token.as_fd(); 3];
        let fd_count = random.len(3) * usize::from(random.one_in(3));
        let deadline =
            random.one_in(3).then(|| now() + Duration::from_nanos(random.below(900_000)));
        let again = [Again::IfNotBegun, Again::UntilDone, Again::UntilAnswered, Again::Never];
        let again = again[usize::try_from(random.below(4)).unwrap()];
        let reply_fds = u16::try_from(random.below(4)).unwrap();
        let tries = u8::try_from(1 + random.below(3)).unwrap();
        let call = Call::new(METHOD, &pieces).fds(&fds[..fd_count]).reply_fds(reply_fds);
        let call = Call { deadline, ..call.again(again).tries(tries) };
        let has_room = caller.has_room_for(len + 4, fd_count);
        let is_one_way = random.one_in(3);
        let refused = if is_one_way {
            let sent = caller.send(&call, words);
            one_ways.extend(sent.ok().map(|id| (id, number)));
            sent.err()
        } else {
            match caller.call(&call, number, words) {
                Ok(id) => {
                    made.push((id, number));
                    if random.one_in(4) {
                        caller.send_first(id);
                    }
                    None
                }
                Err(why) => Some(why),
            }
        };
        match refused {
            None => model.taken(is_one_way, len + 4, &call),
            Some(why) => assert!(why == Why::Full && !has_room, "{why:?}"),
        }
    }

    /// Cancels one of the last requests, whatever its state.
    fn cancel(&mut self) {
        let words = self.words();
        let Main { caller, model, random, made, .. } = &mut *self.main;
        let back = usize::try_from(random.below(10)).unwrap();
        if let Some(&(id, number)) = made.len().checked_sub(1 + back).map(|at| &made[at]) {
            if caller.cancel(id, words) {
                model.cancel(number);
            }
        }
    }

    /// Asks whatever runs to stop, which does not change its fate.
    fn ask_to_stop(&self) {
        let words = self.words();
        self.main.caller.sent().for_each(|request| words.ask_to_stop(request.id));
    }

    /// Checks that the beginning request was listed after all unfinished ones, and counts those
    /// sent first.
    pub(super) fn check_order(&mut self, id: u64) {
        let Some(words) = self.link.as_ref().map(|_| self.words) else { return };
        for request in self.main.caller.sent() {
            if request.id.to_wire() == id {
                self.main.model.begun_first += u64::from(request.is_first);
                break;
            }
            let is_done = words.peek(request.id) == How::Done;
            assert!(is_done || request.is_late, "{request:?} comes first");
        }
    }

    fn turn(&mut self) {
        let words = self.words();
        let caller = &mut self.main.caller;
        caller.last.regained = false;
        caller.expire(now(), words);
        let Some(link) = &mut self.link else { return };
        let sent = caller.outbox.flush_with(link).map(|_| ());
        let received = caller.receive(link).map(|_| ());
        if sent.and(received).is_err() {
            self.give_up();
        }
    }

    /// Gives up the worker, which may continue for a while with what it was sent.
    pub(super) fn give_up(&mut self) {
        if self.link.take().is_some() {
            while self.main.caller.inbox.has_frame() {
                self.main.take_outcome(self.credit);
            }
            self.main.caller.settle_fates(self.words);
            self.main.caller.begin_anew();
        }
    }

    /// Takes the last words of a worker that is gone, and the fates of its requests.
    pub(super) fn bury(&mut self) {
        while let Some(link) = &mut self.link {
            let received = self.main.caller.receive(link);
            while self.main.caller.inbox.has_frame() {
                self.main.take_outcome(self.credit);
            }
            if received.is_err() {
                self.give_up();
            }
        }
    }
}

impl<const SLOTS: usize, const BYTES: usize> Main<SLOTS, BYTES> {
    /// Checks the one-way requests that were freed, or that are late and only run to their end.
    pub(super) fn account(&mut self) {
        let Counters { one_ways_lost, one_ways_expired, one_ways_refused, .. } =
            self.caller.last.counters;
        let counted = one_ways_lost + one_ways_expired + one_ways_refused;
        let is_over = |(id, _): &(RequestId, u32)| {
            self.caller.table.get(*id).is_none_or(|request| request.is_late)
        };
        let over: StdVec<u32> =
            self.one_ways.iter().filter(|it| is_over(it)).map(|(_, number)| *number).collect();
        self.one_ways.retain(|it| !is_over(it));
        self.model.let_go(&over, counted - self.counted);
        self.counted = counted;
    }

    pub(super) fn take_outcome(&mut self, credit: Credit<'_>) {
        let Self { caller, model, .. } = self;
        caller.forget_told();
        let answer = caller.next_answer().unwrap();
        let answer = match answer {
            Some(Answer::Told(told)) => Some(told),
            Some(Answer::Note(header)) => {
                credit.take(header.len());
                let (tag, note) = caller.note(header);
                return model.tell_note(tag.copied(), note);
            }
            None => caller.table.next_ended(),
        };
        let Some(answer) = answer else {
            return;
        };
        let (number, outcome) = caller.outcome(answer, None);
        let told = match outcome {
            Outcome::Reply(reply) => {
                model.reply_fds += read_reply(number, reply);
                Told::Reply
            }
            Outcome::Refused(Refusal::FDS_LOST) => Told::Refused(Refused::FdsLost),
            Outcome::Refused(Refusal::TOO_MANY_FDS) => Told::Refused(Refused::TooManyFds),
            Outcome::Refused(_) => Told::Refused(Refused::ByHandler),
            Outcome::Lost(mut lost) => {
                model.give_back(number, &mut lost);
                Told::Lost(lost.how)
            }
            Outcome::SetAside(mut lost) => {
                model.give_back(number, &mut lost);
                Told::SetAside(lost.how)
            }
            Outcome::DeadlinePassed => Told::DeadlinePassed,
            Outcome::Cancelled => Told::Cancelled,
            Outcome::Unsendable(error) => panic!("{error}"),
        };
        model.tell(number, told, now());
    }
}

/// Checks a reply, and returns how many descriptors it carried.
fn read_reply(number: u32, mut reply: ReplyView<'_>) -> u64 {
    let (head, filler) = reply.bytes().split_first_chunk::<5>().unwrap();
    assert_eq!(head[..4], number.to_le_bytes(), "another request's reply");
    assert!(filler.iter().all(|&byte| byte == 8), "mixed bytes");
    let mut fd_count = 0;
    while reply.take_fd().is_some() {
        fd_count += 1;
    }
    assert!(fd_count == head[4] || reply.fds_lost().is_some());
    fd_count.into()
}
