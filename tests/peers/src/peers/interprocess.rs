//! interprocess: a named local socket. It has no frames: both sides know the size.

use std::io::{Read, Write};

use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{GenericNamespaced, ListenerOptions, Stream};

use crate::contender::{Contender, Task, Trouble};
use crate::echo::{Echo, End};

pub(crate) fn start(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    let name = format!("ipc-peers-{}", std::process::id()).to_ns_name::<GenericNamespaced>()?;
    let listener = ListenerOptions::new().name(name.borrow()).create_sync()?;
    let connect = |()| Ok(Local(Stream::connect(name.borrow())?));
    Echo::open((), listener, task, connect, |listener| Ok(Local(listener.accept()?)))
}

struct Local(Stream);

impl End for Local {
    fn send(&mut self, message: &[u8]) -> Result<(), Trouble> {
        Ok(self.0.write_all(message)?)
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> Result<(), Trouble> {
        Ok(self.0.read_exact(buffer)?)
    }
}
