//! The model: part 1 of the barrier's contract written down a second time, for both sides at once.

use super::order::{Answer, Form, Order, Wait};

/// Which of the two sides.
pub(super) const PARENT: usize = 0;
pub(super) const CHILD: usize = 1;

/// The stage that a side gives when it fails.
pub(super) const fn stage_of(side: usize) -> u8 {
    if side == PARENT { 1 } else { 2 }
}

/// How a side learnt that the other side is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Aborted,
    Gone,
}

/// The goal for which a wait drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// Until the count is at most this.
    Count(i64),
    /// Until a token is newly drained.
    New,
    /// Until the other side is over.
    PeerAbort,
}

/// One side, with everything unread for it.
#[derive(Clone, Debug, Default)]
struct Side {
    /// Tokens placed by this side minus the other side's tokens that it has drained.
    count: i64,
    has_aborted: bool,
    other: Option<Over>,
    unread_tokens: i64,
    unread_abort: bool,
    gave_reason: bool,
    /// Dropped, exited, killed, or replaced by another program.
    is_closed: bool,
    waits_for: Option<Goal>,
}

/// What a call does according to the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Answers(Answer),
    /// Waits, until [`Model::released`] says otherwise.
    Waits,
    /// Closes the end; not a call.
    Closes,
}

/// Both sides of one barrier.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    sides: [Side; 2],
}

impl Model {
    /// Returns whether the side has an end and is not in a wait.
    pub(super) fn is_free(&self, side: usize) -> bool {
        !self.sides[side].is_closed && !self.waits(side)
    }

    pub(super) fn waits(&self, side: usize) -> bool {
        self.sides[side].waits_for.is_some()
    }

    /// Drops, exits, dies or calls exec: for the other side this queues behind the tokens.
    pub(super) fn close(&mut self, side: usize) {
        let side = &mut self.sides[side];
        side.is_closed = true;
        side.waits_for = None;
    }

    pub(super) fn call(&mut self, side: usize, order: Order) -> Does {
        match order {
            Order::Place => {
                let placed = self.place(side);
                Does::Answers(self.answer(side, if placed { b'y' } else { b'n' }))
            }
            Order::Abort => self.abort(side),
            Order::Fail => {
                let me = &mut self.sides[side];
                me.gave_reason |= !me.has_aborted;
                self.abort(side)
            }
            Order::Watch => Does::Answers(self.answer(side, b'y')),
            // Repeating the wait changes nothing, since nothing arrives meanwhile.
            Order::Linger => self.wait(side, Wait::PeerAbort, Form::Past),
            Order::Wait(wait, form) => self.wait(side, wait, form),
            Order::Drop | Order::Exit | Order::Exec => {
                self.close(side);
                Does::Closes
            }
            Order::Next(_) => panic!("the rules do not cover it"),
        }
    }

    /// Returns the answer of a waiting side that was released meanwhile.
    pub(super) fn released(&mut self, side: usize) -> Option<Answer> {
        let goal = self.sides[side].waits_for?;
        let answer = self.drain_until(side, goal)?;
        self.sides[side].waits_for = None;
        Some(answer)
    }

    /// Returns false only if this side already knows of an abort.
    fn place(&mut self, side: usize) -> bool {
        if self.knows_an_abort(side) {
            return false;
        }
        self.sides[side].count += 1;
        self.sides[1 - side].unread_tokens += 1;
        true
    }

    /// Posts an abort, once. The answer is whether the peer is not known to have aborted.
    fn abort(&mut self, side: usize) -> Does {
        if !self.sides[side].has_aborted {
            self.sides[side].has_aborted = true;
            self.sides[1 - side].unread_abort = true;
        }
        let kind = if self.sides[side].other.is_none() { b'y' } else { b'n' };
        Does::Answers(self.answer(side, kind))
    }

    fn wait(&mut self, side: usize, wait: Wait, form: Form) -> Does {
        if wait == Wait::PlaceAndSync {
            self.place(side);
        }
        let count = self.sides[side].count;
        let goal = match wait {
            Wait::Sync | Wait::PlaceAndSync => Goal::Count(0),
            Wait::SyncNext => Goal::Count(i64::max(0, count - 1)),
            Wait::Next => Goal::New,
            Wait::PeerAbort => Goal::PeerAbort,
        };
        match (self.drain_until(side, goal), form) {
            (Some(answer), _) => Does::Answers(answer),
            (None, Form::Past | Form::Try) => Does::Answers(self.answer(side, b't')),
            (None, Form::Plain | Form::Until) => {
                self.sides[side].waits_for = Some(goal);
                Does::Waits
            }
        }
    }

    fn drain_until(&mut self, side: usize, goal: Goal) -> Option<Answer> {
        let mut is_new = false;
        loop {
            let is_met = match goal {
                Goal::PeerAbort => match self.sides[side].other {
                    Some(over) => return Some(self.ended(side, over)),
                    None => false,
                },
                _ if self.knows_an_abort(side) => return Some(self.unmet(side)),
                Goal::Count(limit) => self.sides[side].count <= limit,
                Goal::New => is_new,
            };
            if is_met {
                return Some(self.answer(side, b'+'));
            }
            let other_is_closed = self.sides[1 - side].is_closed;
            let me = &mut self.sides[side];
            if me.unread_abort {
                // It supersedes unread tokens.
                me.unread_abort = false;
                me.unread_tokens = 0;
                me.other = Some(Over::Aborted);
            } else if me.unread_tokens > 0 {
                me.count -= std::mem::take(&mut me.unread_tokens);
                is_new = true;
            } else if other_is_closed {
                me.other = Some(Over::Gone);
            } else {
                return None;
            }
        }
    }

    fn knows_an_abort(&self, side: usize) -> bool {
        self.sides[side].has_aborted || self.sides[side].other.is_some()
    }

    /// Why a wait can no longer be met. The peer's reason comes first, then an abort by this side,
    /// then a peer that is gone.
    fn unmet(&self, side: usize) -> Answer {
        match self.sides[side].other {
            Some(Over::Gone) if self.sides[side].has_aborted => self.answer(side, b'a'),
            Some(over) => self.ended(side, over),
            None => self.answer(side, b'a'),
        }
    }

    /// How the peer has ended, regardless of this side.
    fn ended(&self, side: usize, over: Over) -> Answer {
        match over {
            Over::Gone => self.answer(side, b'g'),
            Over::Aborted if self.sides[1 - side].gave_reason => {
                Answer { stage: stage_of(1 - side), ..self.answer(side, b'r') }
            }
            Over::Aborted => self.answer(side, b'a'),
        }
    }

    fn answer(&self, side: usize, kind: u8) -> Answer {
        let has_aborted = self.sides[side].has_aborted;
        Answer { kind, stage: 0, has_aborted, has_ended: self.knows_an_abort(side) }
    }
}
