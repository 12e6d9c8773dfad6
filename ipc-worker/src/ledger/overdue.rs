//! Whether the request that a worker is at runs too long.

use core::time::Duration;

use ipc_transport::Instant;

use super::id::RequestId;

/// How long a request may run: [`Start::time_limit`](crate::Start::time_limit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimit {
    /// After this time the handler is asked to stop: it sees that by
    /// [`Request::is_cancelled`](crate::Request::is_cancelled).
    pub time: Duration,
    /// If it has not ended by so much later, its worker is killed.
    pub grace: Duration,
}

impl TimeLimit {
    /// No limit. For calls that have a limit themselves the grace is one second.
    pub const NONE: Self = Self { time: Duration::MAX, grace: Duration::from_secs(1) };
}

/// The request that a worker is at: the first of those that it was sent, since it runs one after the
/// other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    request: Option<RequestId>,
    /// When the handler is to be asked to stop, and then when the worker is to be killed.
    pub(crate) due: Instant,
    is_asked: bool,
}

/// What follows for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    Not,
    AskToStop(RequestId),
    Kill,
}

impl Running {
    pub(crate) const NONE: Self = Self { request: None, due: Instant::NEVER, is_asked: false };

    /// Looks at the request that the worker is at now, and how long that may run. Its time begins
    /// when it is seen first.
    pub(crate) fn look(
        &mut self,
        first: Option<(RequestId, Duration)>,
        grace: Duration,
        now: Instant,
    ) -> Overdue {
        let (request, time) = first.map_or((None, Duration::MAX), |(id, time)| (Some(id), time));
        if self.request != request {
            *self = Self { request, due: now + time, is_asked: false };
        }
        match request {
            Some(_) if now >= self.due && self.is_asked => Overdue::Kill,
            Some(id) if now >= self.due => {
                (self.is_asked, self.due) = (true, now + grace);
                Overdue::AskToStop(id)
            }
            _ => Overdue::Not,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Instant = Instant::from_nanoseconds(1_000_000_000_000);
    const MS: Duration = Duration::from_millis(1);

    fn id(slot: u16) -> RequestId {
        RequestId { slot, generation: 1 }
    }

    #[test]
    fn a_request_is_asked_to_stop_once_and_then_its_worker_is_killed() {
        let mut running = Running::NONE;
        let mut look = |first, at| {
            let answer = running.look(first, 5 * MS, T0 + at * MS);
            (answer, running.due)
        };
        let first = Some((id(1), 10 * MS));
        assert_eq!(look(None, 0), (Overdue::Not, Instant::NEVER));
        assert_eq!(look(first, 1), (Overdue::Not, T0 + 11 * MS));
        assert_eq!(look(first, 10), (Overdue::Not, T0 + 11 * MS));
        assert_eq!(look(first, 12), (Overdue::AskToStop(id(1)), T0 + 17 * MS));
        assert_eq!(look(first, 16), (Overdue::Not, T0 + 17 * MS));
        assert_eq!(look(first, 17), (Overdue::Kill, T0 + 17 * MS));
    }

    #[test]
    fn the_time_of_the_next_begins_when_its_turn_has_come() {
        let mut running = Running::NONE;
        let mut look = |first, at| running.look(first, 5 * MS, T0 + at * MS);
        assert_eq!(look(Some((id(1), 10 * MS)), 0), Overdue::Not);
        assert_eq!(look(Some((id(2), 10 * MS)), 11), Overdue::Not);
        assert_eq!(look(Some((id(2), 10 * MS)), 20), Overdue::Not);
        assert_eq!(look(Some((id(2), 10 * MS)), 21), Overdue::AskToStop(id(2)));
        // The slot's next request is another one.
        let next = RequestId { slot: 2, generation: 2 };
        assert_eq!(look(Some((next, 10 * MS)), 40), Overdue::Not);
        assert_eq!(look(Some((id(3), Duration::MAX)), 100), Overdue::Not);
        assert_eq!(look(Some((id(3), Duration::MAX)), u32::MAX), Overdue::Not);
    }
}
