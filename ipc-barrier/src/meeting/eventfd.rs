//! The lane of event counters: one for each direction, and a pipe whose ends show death.

use ipc_transport::{SharedPage, SystemError, above_stdio};
use rustix::event::{EventfdFlags, eventfd};
use rustix::pipe::{PipeFlags, pipe_with};

use super::lane::{Fault, Fds, Half, Mechanism};
use super::wait::{read_now, tried};

/// Two event counters (eventfd(2)) and a pipe that carries no data: what is posted is in the
/// kernel at once, and nobody has to [`arm`](crate::End::arm) anything. Each post and each look is
/// a system call. Reasons go through a shared page on this lane too.
///
/// The descriptor to watch stays readable until the news is taken, without
/// [`arm`](crate::End::arm).
///
/// It is for peers that are trusted. Both sides share the mode in which the kernel writes to a
/// counter without waiting: a peer that changes the mode and fills the counter makes
/// [`place`](crate::End::place) wait.
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
            // A counter at zero cannot be read: what reads as zero is not a counter.
            Some(8) if value != [0; 8] => Ok(u64::from_ne_bytes(value)),
            Some(_) => Err(Fault::Broken),
            None => Ok(0),
        }
    }
}
