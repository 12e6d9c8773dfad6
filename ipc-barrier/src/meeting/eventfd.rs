//! The lane of eventfds: one for each direction, and a pipe whose ends show the peer's death.

use ipc_transport::{SharedPage, SystemError, above_stdio};
use rustix::event::{EventfdFlags, eventfd};
use rustix::pipe::{PipeFlags, pipe_with};

use super::lane::{Fault, Fds, Half, Mechanism};
use super::wait::{read_now, tried};

/// A lane of two eventfds (eventfd(2)) and a pipe that carries no data.
///
/// Each post and each look is a system call. The descriptor of [`watch`](crate::End::watch) stays
/// readable until the news is taken, so [`arm`](crate::End::arm) is not needed. Reasons go through
/// a shared page, as on the lane [`Page`](crate::Page).
///
/// Use it only with a trusted peer. Both sides share the counters' `O_NONBLOCK`. A peer that clears
/// it and fills a counter makes [`place`](crate::End::place) wait.
#[derive(Debug)]
pub enum Eventfd {}

impl Mechanism for Eventfd {
    const NAME: &'static str = "eventfd";
    const IS_COUNTER: bool = true;

    fn open(_memory: &SharedPage) -> Result<Fds, SystemError> {
        let counter = || {
            let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
            above_stdio(eventfd(0, flags).map_err(SystemError::of("eventfd"))?)
        };
        let (to_child, to_parent) = (counter()?, counter()?);
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(SystemError::of("pipe2"))?;
        Ok([to_child, to_parent, above_stdio(reader)?, above_stdio(writer)?])
    }

    fn post(half: &Half, value: u64) -> Result<bool, Fault> {
        let posted = tried(|| rustix::io::write(&half.outgoing, &value.to_ne_bytes()))?;
        Ok(posted.is_some())
    }

    fn try_take(half: &Half) -> Result<u64, Fault> {
        let mut value = [0; 8];
        match read_now(&half.incoming, &mut value)? {
            // A counter at zero is not readable, so a zero means that this is not a counter.
            Some(8) if value != [0; 8] => Ok(u64::from_ne_bytes(value)),
            Some(_) => Err(Fault::Broken),
            None => Ok(0),
        }
    }
}
