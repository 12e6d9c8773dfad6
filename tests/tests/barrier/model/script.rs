//! One script: random orders to both sides, with each answer compared with the model's.

use ipc_tests::random::Random;

use super::order::{Answer, Form, How, Order, Wait};
use super::rules::{CHILD, Does, Model, PARENT};
use super::sides::Sides;

/// What the scripts did, to check that they cover what they are for.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) answers: usize,
    /// Waits that were seen asleep, both after their own order and after orders that do not release
    /// them.
    pub(super) seen_asleep: usize,
    pub(super) released: usize,
    pub(super) deaths: usize,
    pub(super) lingered: usize,
}

/// The next step of a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Tell(Order),
    /// `SIGKILL`, possibly in the middle of a wait.
    Kill,
}

/// A running script.
struct Script<'a> {
    sides: &'a mut Sides,
    model: Model,
    counts: &'a mut Counts,
    done: Vec<String>,
}

/// Runs one script with the next barrier. A process may end only if `may_end` is set; no further
/// scripts run after that.
pub(super) fn run(
    sides: &mut Sides,
    random: &mut Random,
    may_end: bool,
    counts: &mut Counts,
) -> Result<(), String> {
    let mut script = Script { sides, model: Model::default(), counts, done: Vec::new() };
    script.play(random, may_end).map_err(|error| {
        let done = script.done.join("\n");
        format!("{error}; after\n{done}\n{:?}", script.model)
    })
}

impl Script<'_> {
    fn play(&mut self, random: &mut Random, may_end: bool) -> Result<(), String> {
        for side in [PARENT, CHILD] {
            let how = How { pidfd: random.one_in(2) };
            self.sides.tell(side, Order::Next(how), false);
            self.expect(side, Answer::DONE)?;
            self.done.push(format!("{side}: {how:?}"));
        }
        for _ in 0..4 + random.below(14) {
            let Some((side, step)) = self.choose(random, may_end) else { break };
            self.done.push(format!("{side}: {step:?}"));
            match step {
                Step::Tell(order) => self.tell(side, order)?,
                Step::Kill => {
                    self.sides.kill(side);
                    self.model.close(side);
                    self.counts.deaths += 1;
                }
            }
            self.look_at_waiting(1 - side)?;
        }
        // A side that still waits sees the other side close.
        for side in [PARENT, CHILD] {
            if !may_end && self.model.waits(side) {
                self.tell(1 - side, Order::Drop)?;
                self.look_at_waiting(side)?;
            }
        }
        Ok(())
    }

    /// Chooses a possible step. A waiting side can only be killed. Both sides may wait only if
    /// processes may end.
    fn choose(&self, random: &mut Random, may_end: bool) -> Option<(usize, Step)> {
        let able: Vec<usize> = [PARENT, CHILD]
            .into_iter()
            .filter(|&side| self.model.is_free(side) || (may_end && self.model.waits(side)))
            .collect();
        if able.is_empty() {
            return None;
        }
        let side = able[random.below(able.len())];
        if !self.model.is_free(side) {
            // Rare, so that most waits are released by an order.
            let other_is_free = self.model.is_free(1 - side);
            return if other_is_free && !random.one_in(8) {
                Some((1 - side, self.order(random, 1 - side, may_end)))
            } else {
                Some((side, Step::Kill))
            };
        }
        Some((side, self.order(random, side, may_end)))
    }

    fn order(&self, random: &mut Random, side: usize, may_end: bool) -> Step {
        loop {
            let order = match random.below(40) {
                0..14 => Order::Place,
                14..30 => wait(random),
                30..32 => Order::Linger,
                32 => Order::Abort,
                33 => Order::Fail,
                34 => Order::Drop,
                38 => Order::Watch,
                35 if may_end => Order::Exit,
                36 if may_end => Order::Exec,
                37 if may_end => return Step::Kill,
                _ => wait(random),
            };
            let both_would_wait =
                self.model.waits(1 - side) && self.model.clone().call(side, order) == Does::Waits;
            if may_end || !both_would_wait {
                return Step::Tell(order);
            }
        }
    }

    fn tell(&mut self, side: usize, order: Order) -> Result<(), String> {
        let does = self.model.call(side, order);
        self.counts.lingered += usize::from(order == Order::Linger);
        self.sides.tell(side, order, does == Does::Waits);
        match (does, order) {
            (Does::Answers(answer), _) => self.expect(side, answer),
            (Does::Waits, _) => {
                self.sides.has_begun(side)?;
                self.must_wait(side)
            }
            (Does::Closes, Order::Exit) => {
                self.sides.has_ended(side);
                self.counts.deaths += 1;
                Ok(())
            }
            (Does::Closes, Order::Exec) => {
                self.counts.deaths += 1;
                self.sides.has_executed(side)
            }
            (Does::Closes, _) => self.expect(side, Answer::DONE),
        }
    }

    /// Checks that a waiting side answers once it is released, and still waits otherwise.
    fn look_at_waiting(&mut self, side: usize) -> Result<(), String> {
        if !self.model.waits(side) {
            return Ok(());
        }
        match self.model.released(side) {
            Some(answer) => {
                self.counts.released += 1;
                self.expect(side, answer)
            }
            None => self.must_wait(side),
        }
    }

    fn must_wait(&mut self, side: usize) -> Result<(), String> {
        if self.sides.is_asleep(side)? {
            self.counts.seen_asleep += 1;
            return Ok(());
        }
        Err(format!("{side} answers {:?} but must wait", self.sides.answer(side)))
    }

    fn expect(&mut self, side: usize, expected: Answer) -> Result<(), String> {
        self.counts.answers += 1;
        match self.sides.answer(side)? {
            answer if answer == expected => Ok(()),
            answer => Err(format!("{side} answers {answer:?}, the rules say {expected:?}")),
        }
    }
}

/// A random wait; blocking and non-blocking forms are about equally frequent.
fn wait(random: &mut Random) -> Order {
    let waits = [Wait::Sync, Wait::SyncNext, Wait::Next, Wait::PeerAbort, Wait::PlaceAndSync];
    let forms = [Form::Plain, Form::Until, Form::Past, Form::Try];
    Order::Wait(waits[random.below(waits.len())], forms[random.below(forms.len())])
}
