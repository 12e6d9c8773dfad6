//! ipc-channel: a bytes channel each way, which costs less than a channel of values.

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};

use crate::contender::{Contender, Task, Trouble};
use crate::echo::{Echo, End};
use crate::message::whole;
use crate::work::Work;

pub(crate) fn start(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    if matches!(task.work, Work::Fds { .. }) {
        return Err(Trouble::LeftOut("passes only its own channels and memory"));
    }
    let (to_peer, from_main) = bytes_channel()?;
    let (to_main, from_peer) = bytes_channel()?;
    let ours = Channels { sender: to_peer, receiver: from_peer };
    Echo::start((ours, Channels { sender: to_main, receiver: from_main }), task)
}

struct Channels {
    sender: IpcBytesSender,
    receiver: IpcBytesReceiver,
}

impl End for Channels {
    fn send(&mut self, message: &[u8]) -> Result<(), Trouble> {
        Ok(self.sender.send(message)?)
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> Result<(), Trouble> {
        let message = self.receiver.recv()?;
        whole(message.len(), buffer.len())?;
        *buffer = message;
        Ok(())
    }
}
