//! Whether a worker's current request runs too long.

use core::time::Duration;

use ipc_transport::Instant;

use super::id::RequestId;

/// How long a request may run; see [`Start::time_limit`](crate::Start::time_limit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimit {
    /// After this time the handler is asked to stop; see
    /// [`Request::is_cancelled`](crate::Request::is_cancelled).
    pub time: Duration,
    /// The grace period. If the request has not ended this much later, its worker is killed.
    pub grace: Duration,
}

impl TimeLimit {
    /// No limit. Calls with a time limit have a grace period of one second.
    pub const NONE: Self = Self { time: Duration::MAX, grace: Duration::from_secs(1) };
}

/// A worker's current request. The worker runs its requests one by one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    request: Option<RequestId>,
    /// When to ask the handler to stop, and later when to kill the worker.
    pub(crate) due: Instant,
    is_asked: bool,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    Not,
    AskToStop,
    Kill,
}

impl Running {
    pub(crate) const NONE: Self = Self { request: None, due: Instant::NEVER, is_asked: false };

    /// Checks the worker's current request against its limit. All that the worker sent before
    /// `heard` has been received.
    ///
    /// Its time starts when it is first seen.
    pub(crate) fn look(
        &mut self,
        request: Option<RequestId>,
        limit: TimeLimit,
        now: Instant,
        heard: Instant,
    ) -> Overdue {
        if self.request != request {
            let due = request.map_or(Instant::NEVER, |_| now + limit.time);
            *self = Self { request, due, is_asked: false };
        }
        if heard < self.due {
            Overdue::Not
        } else if self.is_asked {
            Overdue::Kill
        } else {
            (self.is_asked, self.due) = (true, now + limit.grace);
            Overdue::AskToStop
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Instant = Instant::from_nanoseconds(1_000_000_000_000);
    const MS: Duration = Duration::from_millis(1);
    const LIMIT: TimeLimit = TimeLimit { time: Duration::from_millis(10), grace: MS };

    fn id(slot: u16) -> RequestId {
        RequestId { slot, generation: 1 }
    }

    /// Checks right after the worker was heard from.
    fn look(running: &mut Running, request: Option<RequestId>, at: u32) -> Overdue {
        running.look(request, LIMIT, T0 + at * MS, T0 + at * MS)
    }

    #[test]
    fn a_request_is_asked_to_stop_once_and_then_its_worker_is_killed() {
        let mut running = Running::NONE;
        let mut look = |first, at| {
            let answer = look(&mut running, first, at);
            (answer, running.due)
        };
        let first = Some(id(1));
        assert_eq!(look(None, 0), (Overdue::Not, Instant::NEVER));
        assert_eq!(look(first, 1), (Overdue::Not, T0 + 11 * MS));
        assert_eq!(look(first, 10), (Overdue::Not, T0 + 11 * MS));
        assert_eq!(look(first, 12), (Overdue::AskToStop, T0 + 13 * MS));
        assert_eq!(look(first, 12), (Overdue::Not, T0 + 13 * MS));
        assert_eq!(look(first, 13), (Overdue::Kill, T0 + 13 * MS));
        assert_eq!(look(None, 14), (Overdue::Not, Instant::NEVER));
    }

    #[test]
    fn the_time_of_the_next_begins_when_its_turn_has_come() {
        let mut running = Running::NONE;
        let mut look = |id, at| look(&mut running, Some(id), at);
        assert_eq!(look(id(1), 0), Overdue::Not);
        assert_eq!(look(id(2), 11), Overdue::Not);
        assert_eq!(look(id(2), 20), Overdue::Not);
        assert_eq!(look(id(2), 21), Overdue::AskToStop);
        // The slot's next request is a different one.
        assert_eq!(look(RequestId { slot: 2, generation: 2 }, 40), Overdue::Not);
        let unlimited = TimeLimit { time: Duration::MAX, grace: MS };
        let late = T0 + u32::MAX * MS;
        let first = Some(id(3));
        assert_eq!(running.look(first, unlimited, T0, T0), Overdue::Not);
        assert_eq!(running.look(first, unlimited, late, late), Overdue::Not);
    }

    #[test]
    fn what_is_not_known_yet_is_not_overdue() {
        let mut running = Running::NONE;
        let mut look =
            |now, heard| running.look(Some(id(1)), LIMIT, T0 + now * MS, T0 + heard * MS);
        assert_eq!(look(1, 0), Overdue::Not);
        assert_eq!(look(50, 10), Overdue::Not, "main was away");
        assert_eq!(look(51, 11), Overdue::AskToStop);
        assert_eq!(look(90, 51), Overdue::Not, "main was away again");
        assert_eq!(look(91, 52), Overdue::Kill);
    }
}
