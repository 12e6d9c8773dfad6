//! Two processes that wait for each other: ipc-barrier, a bare futex, and bare pipes.

use std::sync::atomic::{AtomicU32, Ordering};

use ipc_barrier::{Barrier, ChildEnd, Page, ParentEnd};
use ipc_transport::SharedPage;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::futex;

use crate::contender::{Contender, Peer, Task, Trouble, split};
use crate::work::Work;

/// One side of a meeting.
trait Side {
    /// Tells the other side that this one has arrived, and waits for it.
    fn meet(&mut self) -> Result<(), Trouble>;
}

pub(crate) fn barrier(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    is_meeting(task)?;
    let barrier = Barrier::<Page>::open()?;
    // A process can have only one barrier; each makes its own end of it.
    let (ours, peer) = {
        let shared = std::rc::Rc::new(std::cell::Cell::new(Some(barrier)));
        let theirs = std::rc::Rc::clone(&shared);
        split(task, shared, theirs, |barrier| {
            let barrier = barrier.take().ok_or(Trouble::Failed("no barrier".into()))?;
            serve(barrier.into_child())
        })?
    };
    let barrier = ours.take().ok_or(Trouble::Failed("no barrier".into()))?;
    Ok(Box::new(Meeting { side: barrier.into_parent(), peer }))
}

impl Side for ParentEnd {
    fn meet(&mut self) -> Result<(), Trouble> {
        Ok(self.place_and_sync()?)
    }
}

impl Side for ChildEnd {
    fn meet(&mut self) -> Result<(), Trouble> {
        Ok(self.place_and_sync()?)
    }
}

pub(crate) fn futex(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    is_meeting(task)?;
    let page = std::rc::Rc::new(SharedPage::new(2 * LINE)?);
    let side = |mine, other| Words { page: std::rc::Rc::clone(&page), mine, other, round: 0 };
    let (side, peer) = split(task, side(0, LINE), side(LINE, 0), serve)?;
    Ok(Box::new(Meeting { side, peer }))
}

/// Words in a cache line.
const LINE: usize = 16;

/// A round counter per side, and futex(2) for the side that arrives first.
struct Words {
    page: std::rc::Rc<SharedPage>,
    mine: usize,
    other: usize,
    round: u32,
}

impl Words {
    fn word(&self, index: usize) -> &AtomicU32 {
        &self.page.words()[index]
    }
}

impl Side for Words {
    fn meet(&mut self) -> Result<(), Trouble> {
        let before = self.round;
        self.round = before.wrapping_add(1);
        self.word(self.mine).store(self.round, Ordering::Release);
        futex::wake(self.word(self.mine), futex::Flags::empty(), 1)?;
        let other = self.word(self.other);
        // The other side may already be in the next round, where it waits.
        while other.load(Ordering::Acquire) == before {
            match futex::wait(other, futex::Flags::empty(), before, None) {
                Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

pub(crate) fn pipe(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    is_meeting(task)?;
    let (from_peer, to_main) = pipe_with(PipeFlags::CLOEXEC)?;
    let (from_main, to_peer) = pipe_with(PipeFlags::CLOEXEC)?;
    let ours = Pipes { reader: from_peer, writer: to_peer };
    let theirs = Pipes { reader: from_main, writer: to_main };
    let (side, peer) = split(task, ours, theirs, serve)?;
    Ok(Box::new(Meeting { side, peer }))
}

struct Pipes {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Side for Pipes {
    fn meet(&mut self) -> Result<(), Trouble> {
        rustix::io::write(&self.writer, &[1])?;
        match rustix::io::read(&self.reader, &mut [0_u8])? {
            0 => Err(Trouble::Failed("the other side has closed".into())),
            _ => Ok(()),
        }
    }
}

fn is_meeting(task: Task) -> Result<(), Trouble> {
    match task.work {
        Work::Meet => Ok(()),
        _ => Err(Trouble::Elsewhere),
    }
}

fn serve(mut side: impl Side) -> Result<(), Trouble> {
    loop {
        side.meet()?;
    }
}

struct Meeting<S> {
    side: S,
    peer: Peer,
}

impl<S: Side> Contender for Meeting<S> {
    fn round(&mut self) -> Result<(), Trouble> {
        self.side.meet()
    }

    fn pid(&mut self) -> Option<i32> {
        Some(self.peer.pid())
    }
}
