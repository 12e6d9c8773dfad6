//! A handler that is about to block sends finished replies first.

use ipc_tests::over;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use ipc_tests::fds;
use ipc_worker::{
    Call, Ended, Event, Handler, How, Outcome, Refusal, Reply, Request, Start, Worker,
};
use rustix::pipe::pipe;

use crate::handler::{Told, call_in, soon, told, turn_until};

const COUNT: u16 = 1;
const BLOCK: u16 = 2;
const FAIL: u16 = 3;

/// Calls all its methods quick, so that only a flush sends finished replies.
#[derive(Default)]
struct Blocks {
    unsettled: u8,
    settled: u8,
}

impl Handler for Blocks {
    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        match request.method() {
            COUNT => {
                self.unsettled += 1;
                reply.put(request.bytes())
            }
            BLOCK => {
                let [input] = request.take_fds()?;
                reply.put(b"before ")?;
                reply.put_fd(File::open("/dev/null")?.into())?;
                request.flush(|| self.settle())?;
                request.flush(|| panic!("the second flush has nothing to send"))?;
                File::from(input).read_to_end(&mut Vec::new())?;
                reply.put(request.bytes())?;
                reply.put(&[self.settled, self.unsettled])
            }
            _ => request.flush(|| Err(Refusal::new(5, "no"))),
        }
    }

    fn settle(&mut self) -> Result<(), Refusal> {
        self.settled += self.unsettled;
        self.unsettled = 0;
        Ok(())
    }

    fn is_quick(&self, _method: u16) -> Option<bool> {
        Some(true)
    }
}

pub(crate) fn a_flush_sends_what_is_finished_and_leaves_the_reply() {
    let before = fds::open().len();
    let mut worker = Worker::<u32, _, 8, 4096>::start(over::fork(Blocks::default())).unwrap();
    let started = fds::open().len();
    for round in 0..50_u8 {
        let (input, output) = pipe().unwrap();
        let pad = vec![b'.'; usize::from(round) * 3 % 40];
        worker.try_call(Call::new(COUNT, &[b"one", &pad]), 1).unwrap();
        worker.try_call(Call::new(COUNT, &[b"two"]), 2).unwrap();
        worker.try_send(Call::new(COUNT, &[b"silent"])).unwrap();
        worker
            .try_call(Call::new(BLOCK, &[b"after"]).fds(&[input.as_fd()]).reply_fds(1), 3)
            .unwrap();
        worker.try_call(Call::new(COUNT, &[b"last"]), 4).unwrap();
        drop(input);
        // They arrive even though the third blocks until this process closes its pipe.
        let mut list = turn_until(&mut worker, |list| list.len() >= 2);
        assert_eq!(list.len(), 2);
        while worker.one_ways_under_way() > 0 {
            list.extend(turn_until(&mut worker, |_| true));
        }
        let first = [b"one", &pad[..]].concat();
        assert_eq!(list, [Told::Reply(1, first), Told::Reply(2, b"two".to_vec())]);
        drop(output);
        let (mut replies, mut fd_count) = (Vec::new(), 0);
        while replies.len() < 2 {
            worker.turn(ipc_worker::Instant::now());
            while let Some(event) = worker.next_event() {
                let Event::Done { tag, outcome: Outcome::Reply(mut reply) } = event else {
                    panic!("{event:?}")
                };
                fd_count += usize::from(reply.take_fd().is_some());
                replies.push((tag, reply.bytes().to_vec()));
            }
        }
        let settled = (round * 4).wrapping_add(3);
        let third = [b"before after".as_slice(), &[settled, 0]].concat();
        assert_eq!(replies, [(3, third), (4, b"last".to_vec())]);
        assert_eq!((fd_count, fds::open().len()), (1, started));
    }
    assert_eq!(worker.stop(soon(), |event| panic!("{event:?}")), Some(Ended::Exited(0)));
    drop(worker);
    assert_eq!(fds::open().len(), before);
}

pub(crate) fn a_flush_that_cannot_be_settled_ends_the_worker() {
    let mut worker = Worker::<u32, _>::start(over::fork(Blocks::default())).unwrap();
    worker.try_call(Call::new(COUNT, &[b"one"]), 1).unwrap();
    worker.try_call(Call::new(FAIL, &[]), 2).unwrap();
    worker.try_call(Call::new(COUNT, &[b"three"]), 3).unwrap();
    let list = turn_until(&mut worker, |list| list.len() >= 5);
    let lost = |tag| Told::Lost(tag, How::Done);
    assert!(list.contains(&Told::Died(Ended::Exited(74))), "{list:?}");
    assert!(list.contains(&lost(1)) && list.contains(&lost(2)), "{list:?}");
    assert_eq!(list.last(), Some(&Told::Reply(3, b"three".to_vec())));
}

pub(crate) fn a_flush_in_line_sends_nothing_and_harms_nothing() {
    let start = Start::inline(Blocks::default());
    let mut worker = Worker::<u32, _, 8, 512>::start(start).unwrap();
    worker.try_call(Call::new(COUNT, &[b"one"]), 1).unwrap();
    worker.try_call(Call::new(FAIL, &[]), 2).unwrap();
    let list = turn_until(&mut worker, |list| list.len() >= 2);
    assert_eq!(list, [Told::Reply(1, b"one".to_vec()), Told::Reply(2, Vec::new())]);
    assert_eq!(call_in(&mut worker, COUNT, b"two"), Told::Reply(0, b"two".to_vec()));
    worker.stop(soon(), |event| panic!("{:?}", told(event)));
}
