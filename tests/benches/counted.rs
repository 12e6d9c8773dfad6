//! The hot path without a kernel or a second process, one piece at a time, for an instruction
//! counter. `counted NAME` repeats the named piece often enough that everything else is negligible.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench fails by panicking")]

use std::hint::black_box;

use ipc_frame::{Decoder, Header, Queue};
use ipc_transport::{Arrived, Inbox, Instant, Outbox, Ring};
use ipc_worker::{Call, Event, Outcome, Refusal, Reply, Request, Start, Worker};

/// How often a piece is repeated.
const TIMES: u64 = 1000;

/// The payload.
const PAYLOAD: [u8; 64] = [7; 64];

/// Requests in one batch.
const BATCH: usize = 32;

type Piece = (&'static str, fn() -> Box<dyn FnMut()>);

/// The pieces. Each removes what it has made, so that every repetition does the same work.
const PIECES: &[Piece] = &[
    ("encode", encode),
    ("decode", decode),
    ("ring there and back", ring_there_and_back),
    ("try_call, turn and next_event inline", one_in_line),
    ("32 of them", many_in_line),
];

fn main() {
    // Cargo passes `--bench`, too.
    let name = std::env::args().skip(1).find(|word| word != "--bench");
    let Some(name) = name else {
        for (name, _) in PIECES {
            println!("{name}");
        }
        return;
    };
    let Some((_, piece)) = PIECES.iter().find(|(it, _)| *it == name) else {
        panic!("no piece {name:?}: run without a name to list them");
    };
    let mut piece = piece();
    for _ in 0..10 {
        piece();
    }
    counted(&mut piece);
    println!("{TIMES} times");
}

/// The function that a counter looks for.
#[expect(unsafe_code, reason = "a symbol that a counter finds")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn counted(piece: &mut Box<dyn FnMut()>) {
    for _ in 0..TIMES {
        piece();
    }
}

fn encode() -> Box<dyn FnMut()> {
    let mut queue = Queue::<4096, 8>::new();
    Box::new(move || {
        let number = queue.push(Header::request(1, 1), &[black_box(&PAYLOAD)]).unwrap();
        queue.send_with(|pieces, _| Ok::<_, ()>(pieces.first().map(|piece| piece.len()))).unwrap();
        queue.retire(number);
    })
}

fn decode() -> Box<dyn FnMut()> {
    let mut frame = Header::request(1, 1).encode_with(64, 0, 0).unwrap().to_vec();
    frame.extend(PAYLOAD);
    let mut decoder = Decoder::<4096>::new();
    Box::new(move || {
        let space = decoder.space();
        space.iter_mut().zip(&frame).for_each(|(to, from)| *to = *from);
        decoder.filled(frame.len());
        black_box(decoder.advance().unwrap().unwrap());
        black_box(decoder.payload());
    })
}

/// Neither side sleeps, so the ring makes no system call.
fn ring_there_and_back() -> Box<dyn FnMut()> {
    let (mut left, mut right) = Ring::pair(4096).unwrap();
    let mut outboxes = [(); 2].map(|()| Outbox::<4096, 8>::new());
    let mut inboxes = [(); 2].map(|()| Inbox::<4096>::new());
    let mut send = move |from: usize, by: &mut Ring, to: &mut Ring| {
        let (Some(outbox), Some(inbox)) = (outboxes.get_mut(from), inboxes.get_mut(from)) else {
            return;
        };
        outbox.push(Header::request(1, 1), &[&PAYLOAD]).unwrap();
        outbox.flush_with(&mut by.blocking()).unwrap();
        outbox.retire_sent();
        assert!(matches!(inbox.receive_with(&mut to.blocking(), 0).unwrap(), Arrived::Bytes(_)));
        black_box(inbox.advance().unwrap().unwrap());
    };
    Box::new(move || {
        send(0, &mut left, &mut right);
        send(1, &mut right, &mut left);
    })
}

fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    reply.put(request.bytes())
}

fn one_in_line() -> Box<dyn FnMut()> {
    in_line(1)
}

fn many_in_line() -> Box<dyn FnMut()> {
    in_line(BATCH)
}

fn in_line(count: usize) -> Box<dyn FnMut()> {
    let mut worker = Worker::<u64, _>::start(Start::inline(handle)).unwrap();
    let now = Instant::now();
    Box::new(move || {
        for tag in 0..count {
            worker.try_call(Call::new(1, &[&PAYLOAD]), tag as u64).unwrap();
        }
        worker.turn(now);
        let mut replies = 0;
        while let Some(event) = worker.next_event() {
            let Event::Done { outcome: Outcome::Reply(reply), .. } = event else { continue };
            black_box(reply.bytes());
            replies += 1;
        }
        assert_eq!(replies, count);
    })
}
