//! The queue compared with a simple model: a list of all frames ever pushed.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking; these helpers are outside the test functions"
)]

use std::convert::Infallible;

use ipc_frame::{Decoder, FrameNumber, Header, Kind, PushError, Queue, Reservation};
use proptest::prelude::*;

const BYTES: usize = 300;

#[derive(Clone, Copy, Debug)]
enum Step {
    Push {
        is_reply: bool,
        fd_count: usize,
        len: usize,
    },
    /// Pushes a frame that is sent before all others.
    Urgent {
        len: usize,
    },
    Reserve {
        len: usize,
    },
    Commit,
    Send {
        limit: usize,
    },
    /// Counts back from the newest frame, including retired ones.
    Retire {
        back: usize,
    },
    Withdraw {
        back: usize,
    },
    RetireSent,
    PassUnsent,
    DiscardUnsent,
    Rewind,
    Clear,
}

#[derive(Debug)]
struct Item {
    number: FrameNumber,
    header: Header,
    fd_count: u16,
    len: usize,
    /// Bytes sent, header included.
    sent: usize,
    begun: bool,
    done: bool,
    resent: bool,
    withdrawn: bool,
    retired: bool,
    /// It is sent first, until it has been sent once.
    is_urgent: bool,
}

impl Item {
    const fn is_half_sent(&self) -> bool {
        self.sent > 0 && !self.done
    }

    const fn is_to_be_sent(&self) -> bool {
        self.is_half_sent() || !(self.retired || self.withdrawn || self.done)
    }

    fn payload(&self) -> Vec<u8> {
        vec![self.header.id().to_le_bytes()[0]; self.len]
    }
}

struct Beside {
    queue: Queue<BYTES, 6>,
    items: Vec<Item>,
    decoder: Decoder<BYTES>,
    fd_sequence: u32,
    /// The room, the header of its frame, and how many items existed then.
    reserved: Option<(Reservation, Header, usize)>,
    /// How many items existed after the last urgent one.
    urgent_end: usize,
}

impl Beside {
    fn step(&mut self, step: Step) {
        match step {
            Step::Push { is_reply, fd_count, len } => self.push(is_reply, fd_count, len),
            Step::Urgent { len } => {
                let count = self.items.len();
                let is_begun = |item: &Item| item.is_half_sent() || (!item.retired && item.begun);
                let is_sending = self.items.iter().any(is_begun);
                let mut waiting = self.items.iter().filter(|item| item.is_urgent);
                let is_next = !waiting.any(Item::is_to_be_sent) || self.urgent_end == count;
                self.push(false, 0, len);
                if let Some(item) = self.items.get_mut(count) {
                    item.is_urgent = is_next && !is_sending;
                    self.urgent_end = if item.is_urgent { count + 1 } else { self.urgent_end };
                    assert_eq!(self.queue.send_first(item.number), item.is_urgent);
                }
            }
            Step::Reserve { len } => {
                let id = self.items.len() as u64;
                let Ok(room) = self.queue.reserve(len) else { return };
                self.queue.payload_mut(&room).fill(id.to_le_bytes()[0]);
                self.reserved = Some((room, Header::reply(id), self.items.len()));
            }
            Step::Commit => self.commit(),
            Step::Send { limit } => self.send(limit),
            Step::Retire { back } => {
                let Some(item) = self.items.iter_mut().rev().nth(back) else { return };
                item.retired = true;
                self.queue.retire(item.number);
            }
            Step::Withdraw { back } => {
                let Some(item) = self.items.iter_mut().rev().nth(back) else { return };
                item.withdrawn = true;
                self.queue.withdraw(item.number);
            }
            Step::RetireSent => {
                self.items.iter_mut().for_each(|item| item.retired |= item.begun && item.done);
                self.queue.retire_sent();
            }
            Step::PassUnsent => {
                let next = self.order().first().copied();
                let next = next.map(|index| &mut self.items[index]);
                if let Some(item) = next.filter(|item| !item.is_half_sent()) {
                    (item.begun, item.done) = (true, true);
                }
                self.queue.pass_unsent();
            }
            Step::DiscardUnsent => {
                for item in self.items.iter_mut().filter(|item| item.is_to_be_sent()) {
                    (item.begun, item.done) = (true, true);
                }
                self.decoder.reset();
                self.queue.discard_unsent();
            }
            Step::Rewind => self.rewind(),
            Step::Clear => {
                self.items.iter_mut().for_each(|item| (item.retired, item.done) = (true, true));
                self.decoder.reset();
                self.fd_sequence = 0;
                self.queue.clear();
            }
        }
    }

    fn push(&mut self, is_reply: bool, fd_count: usize, len: usize) {
        let id = self.items.len() as u64;
        let header = if is_reply { Header::reply(id) } else { Header::request(7, id) };
        let payload = vec![id.to_le_bytes()[0]; len];
        match self.queue.push_with_fds(header, fd_count, &[&payload]) {
            Ok(number) => self.add(number, header, fd_count, len),
            Err(error) => {
                assert_eq!(error, PushError::Full);
                let is_gone = |item: &Item| item.retired && !item.is_half_sent();
                assert!(!self.items.iter().all(is_gone), "an empty queue takes any frame");
            }
        }
    }

    fn add(&mut self, number: FrameNumber, header: Header, fd_count: usize, len: usize) {
        self.items.push(Item {
            number,
            header,
            fd_count: u16::try_from(fd_count).unwrap(),
            len,
            sent: 0,
            begun: false,
            done: false,
            resent: false,
            withdrawn: false,
            retired: false,
            is_urgent: false,
        });
    }

    /// The room still holds what was written, unless a frame was appended.
    fn commit(&mut self) {
        let Some((room, header, items)) = self.reserved.take() else { return };
        let payload = self.queue.payload_mut(&room);
        let (fill, len) = (header.id().to_le_bytes()[0], payload.len());
        assert!(payload.iter().all(|&byte| byte == fill));
        match self.queue.commit(room, header, 0, usize::MAX) {
            Ok(number) => {
                assert_eq!(self.items.len(), items);
                self.add(number, header, 0, len);
            }
            Err(error) => {
                assert_eq!((error, len), (PushError::Full, 0));
                assert_ne!(self.items.len(), items);
            }
        }
    }

    fn send(&mut self, limit: usize) {
        let order = self.order();
        let first = order.first().map(|&index| &self.items[index]);
        let with_fds = first.filter(|item| item.fd_count > 0 && item.sent == 0);
        let with_fds = with_fds.map(|item| item.number);
        let (has_unsent, mut wire) = (first.is_some(), Vec::new());
        let sent = self.queue.send_with(|pieces, got_fds| {
            assert_eq!(got_fds, with_fds);
            wire.extend(pieces.iter().copied().flatten().take(limit));
            Ok::<_, Infallible>(Some(wire.len()))
        });
        assert_eq!(sent, Ok(has_unsent.then_some(wire.len())));
        assert!(!has_unsent || limit == 0 || !wire.is_empty());
        let mut rest = &wire[..];
        for index in order {
            let item = &mut self.items[index];
            if rest.is_empty() {
                break;
            }
            if item.sent == 0 {
                item.begun = true;
                self.fd_sequence += u32::from(item.fd_count);
            }
            let (now, later) = rest.split_at(rest.len().min(24 + item.len - item.sent));
            rest = later;
            self.decoder.space()[..now.len()].copy_from_slice(now);
            self.decoder.filled(now.len());
            item.sent += now.len();
            item.done = item.sent == 24 + item.len;
            let frame = self.decoder.next_frame().unwrap();
            assert_eq!(frame.is_some(), item.done);
            let Some(frame) = frame else { continue };
            let (header, fd_count) = (frame.header(), item.fd_count);
            let sequence = if fd_count > 0 { self.fd_sequence - u32::from(fd_count) } else { 0 };
            let got = (header.id(), header.fd_count(), header.fd_sequence());
            assert_eq!(got, (item.header.id(), fd_count, sequence));
            assert_eq!(header.is_resent(), item.resent);
            assert_eq!(frame.payload(), item.payload());
        }
        assert!(rest.is_empty(), "only the frames to be sent");
    }

    fn rewind(&mut self) {
        for item in self.items.iter_mut().filter(|item| !item.retired) {
            let can_say = item.header.kind() == Kind::Request;
            item.resent |= item.begun && !item.withdrawn && can_say;
        }
        for item in &mut self.items {
            (item.sent, item.begun, item.done) = (0, false, item.retired);
            item.is_urgent = false;
        }
        self.decoder.reset();
        self.fd_sequence = 0;
        self.queue.rewind();
    }

    /// The items to send, in order.
    fn order(&self) -> Vec<usize> {
        let items = self.items.iter().enumerate().filter(|(_, item)| item.is_to_be_sent());
        let (mut urgent, others): (Vec<_>, Vec<_>) =
            items.partition(|(_, item)| item.is_urgent || item.is_half_sent());
        // A half-sent item always comes first.
        urgent.sort_by_key(|(_, item)| !item.is_half_sent());
        urgent.extend(others);
        urgent.into_iter().map(|(index, _)| index).collect()
    }

    fn check(&self) {
        let Self { queue, items, .. } = self;
        let kept = || items.iter().filter(|item| !item.retired);
        let numbers: Vec<_> = kept().map(|item| item.number).collect();
        let mut next = queue.first();
        let walk: Vec<_> = std::iter::from_fn(|| {
            let number = next?;
            next = queue.next_after(number);
            Some(number)
        })
        .collect();
        assert_eq!(walk, numbers);
        for (index, item) in items.iter().enumerate() {
            let behind = items[index + 1..].iter().find(|item| !item.retired);
            assert_eq!(queue.next_after(item.number), behind.map(|item| item.number));
            let is_gone = item.retired;
            assert_eq!(queue.is_begun(item.number), is_gone || item.begun);
            assert_eq!(queue.is_sent(item.number), is_gone || (item.begun && item.done));
            assert_eq!(queue.id(item.number), (!is_gone).then_some(item.header.id()));
            let frame = queue.frame(item.number);
            assert_eq!(frame.is_some(), !is_gone);
            if let Some(frame) = frame {
                assert_eq!(frame.payload(), item.payload());
                assert_eq!(frame.header().is_resent(), item.resent);
            }
        }
        let next = self.order().first().map(|&index| &items[index]);
        assert_eq!(queue.has_unsent(), next.is_some());
        let next = next.filter(|item| !item.is_half_sent()).map(|item| item.number);
        assert_eq!(queue.next_unsent().map(|(number, _)| number), next);
        assert_eq!(queue.has_sent(), kept().any(|item| item.begun));
        let is_empty = items.iter().all(|item| item.retired && !item.is_half_sent());
        assert_eq!(queue.has_room_for(Queue::<BYTES, 6>::CAPACITY), is_empty);
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<bool>(), prop_oneof![3 => Just(0), 1 => 1_usize..254], 0_usize..120)
            .prop_map(|(is_reply, fd_count, len)| Step::Push { is_reply, fd_count, len }),
        4 => (0_usize..120).prop_map(|len| Step::Reserve { len }),
        6 => Just(Step::Commit),
        3 => (0_usize..60).prop_map(|len| Step::Urgent { len }),
        8 => (0_usize..200).prop_map(|limit| Step::Send { limit }),
        4 => (0_usize..9).prop_map(|back| Step::Retire { back }),
        2 => (0_usize..9).prop_map(|back| Step::Withdraw { back }),
        1 => Just(Step::RetireSent),
        1 => Just(Step::PassUnsent),
        1 => Just(Step::Rewind),
    ]
}

fn rare_step() -> impl Strategy<Value = Step> {
    prop_oneof![30 => step(), 1 => Just(Step::DiscardUnsent), 1 => Just(Step::Clear)]
}

fn config() -> ProptestConfig {
    // Miri is some hundred times slower, and has no files to store failures in.
    let cases = if cfg!(miri) { 4 } else { 1000 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn queue_agrees_with_a_model(steps in proptest::collection::vec(rare_step(), 0..120)) {
        let mut beside = Beside {
            queue: Queue::new(),
            items: Vec::new(),
            decoder: Decoder::new(),
            fd_sequence: 0,
            reserved: None,
            urgent_end: 0,
        };
        for step in steps {
            beside.step(step);
            beside.check();
        }
    }
}
