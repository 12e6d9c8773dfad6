//! The other floor: messages in slots of shared memory, a ring each way, with futex(2) for a
//! sleeping reader. At most as many messages are in flight as there are slots, so a writer never
//! waits. A death is not detected.

#![expect(unsafe_code, reason = "messages are copied from and to shared memory")]

use std::hint::spin_loop;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use ipc_transport::SharedPage;
use rustix::io::Errno;
use rustix::thread::futex;

use crate::contender::{Contender, Task, Trouble, spins};
use crate::echo::{Echo, End};
use crate::work::Work;

/// Words in a cache line.
const LINE: usize = 16;
/// The line with the count of messages written, and the line with the reader's mark.
const HEAD: usize = 2 * LINE;

/// How often a spinning reader polls before it sleeps; much longer than a reply takes.
const SPINS: usize = 20_000;

pub(crate) fn sleeping(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    start(task, 0)
}

pub(crate) fn spinning(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    spins(task)?;
    start(task, SPINS)
}

fn start(task: Task, spins: usize) -> Result<Box<dyn Contender>, Trouble> {
    if task.work == Work::Kill {
        return Err(Trouble::LeftOut("notices no death"));
    }
    let slots = task.work.in_round() + 1;
    let slot = (task.work.size() / 4 + 1).next_multiple_of(LINE);
    let page = Rc::new(SharedPage::new(2 * (HEAD + slots * slot))?);
    let way = |first| Way { page: Rc::clone(&page), first, slots, slot, count: 0 };
    let (there, back) = (0, HEAD + slots * slot);
    let ours = Ring { outgoing: way(there), incoming: way(back), spins };
    Echo::start((ours, Ring { outgoing: way(back), incoming: way(there), spins }), task)
}

struct Ring {
    outgoing: Way,
    incoming: Way,
    spins: usize,
}

/// One direction, seen from one side.
struct Way {
    page: Rc<SharedPage>,
    first: usize,
    slots: usize,
    slot: usize,
    /// Messages written or read so far.
    count: u32,
}

impl Way {
    fn written(&self) -> &AtomicU32 {
        &self.page.words()[self.first]
    }

    fn asleep(&self) -> &AtomicU32 {
        &self.page.words()[self.first + LINE]
    }

    /// Returns the next message's slot; its first word is the length.
    fn place(&self) -> &[AtomicU32] {
        let start = self.first + HEAD + self.count as usize % self.slots * self.slot;
        &self.page.words()[start..start + self.slot]
    }
}

impl End for Ring {
    fn send(&mut self, message: &[u8]) -> Result<(), Trouble> {
        let way = &mut self.outgoing;
        let (len, place) = way.place().split_first().expect("a slot has a word");
        assert!(message.len() <= 4 * place.len());
        len.store(message.len() as u32, Ordering::Relaxed);
        let bytes = place.as_ptr().cast_mut().cast::<u8>();
        // SAFETY: the slot is long enough, and the reader does not read it before the count below
        // changes.
        unsafe { std::ptr::copy_nonoverlapping(message.as_ptr(), bytes, message.len()) };
        way.count = way.count.wrapping_add(1);
        // SeqCst orders both with the reader's mark and its last check.
        way.written().store(way.count, Ordering::SeqCst);
        if way.asleep().load(Ordering::SeqCst) != 0 {
            futex::wake(way.written(), futex::Flags::empty(), 1)?;
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> Result<(), Trouble> {
        let way = &mut self.incoming;
        let mut spins = self.spins;
        while way.written().load(Ordering::Acquire) == way.count {
            if spins > 0 {
                spins -= 1;
                spin_loop();
                continue;
            }
            way.asleep().store(1, Ordering::SeqCst);
            if way.written().load(Ordering::SeqCst) == way.count {
                match futex::wait(way.written(), futex::Flags::empty(), way.count, None) {
                    Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            way.asleep().store(0, Ordering::Relaxed);
        }
        let (len, place) = way.place().split_first().expect("a slot has a word");
        crate::message::whole(len.load(Ordering::Relaxed) as usize, buffer.len())?;
        let bytes = place.as_ptr().cast::<u8>();
        assert!(buffer.len() <= 4 * place.len());
        // SAFETY: the buffer is long enough, and the writer has finished with the slot.
        unsafe { std::ptr::copy_nonoverlapping(bytes, buffer.as_mut_ptr(), buffer.len()) };
        way.count = way.count.wrapping_add(1);
        Ok(())
    }
}
