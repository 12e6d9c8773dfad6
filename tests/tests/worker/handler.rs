//! The handler that the cases use, and the outcomes that they expect.

use ipc_tests::over;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_frame::Kind;
use ipc_tests::fds;
use ipc_tests::wire::RawHeader;
use ipc_transport::{Interest, PassFds, Stream, Watched, wait};
use ipc_worker::{
    Call, Ended, Event, How, Instant, Launch, Outcome, Refusal, Reply, Request, Worker,
};

pub(crate) const ECHO: u16 = 1;
pub(crate) const REFUSE: u16 = 2;
pub(crate) const WRITE: u16 = 3;
pub(crate) const SLEEP_MS: u16 = 4;
pub(crate) const EXIT: u16 = 5;
pub(crate) const PANIC: u16 = 6;
pub(crate) const FDS: u16 = 7;
pub(crate) const PID: u16 = 8;
pub(crate) const OPEN_FDS: u16 = 9;
pub(crate) const PIPE: u16 = 10;
pub(crate) const APPEND_BYTE: u16 = 11;
pub(crate) const SLOW_PIPE: u16 = 12;
pub(crate) const UNTIL_CANCELLED: u16 = 13;
pub(crate) const GIVE_FDS: u16 = 14;
pub(crate) const NO_RIGHTS: u16 = 15;
pub(crate) const UNASKED_FD: u16 = 16;
pub(crate) const NOTES: u16 = 17;
/// Methods that use blocks.
pub(crate) const ADD_ONE: u16 = 18;
pub(crate) const TO_FILE_AND_BACK: u16 = 19;
pub(crate) const LOOK_LATER: u16 = 20;
pub(crate) const SPOIL_AND_EXIT: u16 = 21;

/// Size of each of the two blocks.
pub(crate) const BLOCK: usize = 1 << 20;

/// Far longer than any case: an argument for `SLEEP_MS`.
pub(crate) const LONG: [u8; 8] = 600_000_u64.to_le_bytes();

pub(crate) fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    match request.method() {
        ECHO => reply.put(request.bytes()),
        REFUSE => Err(Refusal::new(42, "not today")),
        WRITE => {
            let mut file = File::from(request.take_fd().ok_or(Refusal::new(1, "no fd"))?);
            file.write_all(request.bytes())?;
            Ok(())
        }
        SLEEP_MS => {
            let time = u64::from_le_bytes(request.bytes().try_into().unwrap());
            std::thread::sleep(Duration::from_millis(time));
            reply.put(b"slept")
        }
        EXIT => ipc_barrier::exit(3),
        PANIC => panic!("on purpose"),
        FDS => {
            let mut count = 0_u32;
            while request.take_fd().is_some() {
                count += 1;
            }
            reply.put(&count.to_le_bytes())
        }
        PID => reply.put(&std::process::id().to_le_bytes()),
        OPEN_FDS => reply.put(format!("{:?}", fds::open()).as_bytes()),
        PIPE | SLOW_PIPE => {
            if request.method() == SLOW_PIPE {
                std::thread::sleep(Duration::from_millis(100));
            }
            let (mut ours, theirs) = UnixStream::pair()?;
            ours.write_all(request.bytes())?;
            reply.put_fd(theirs.into())
        }
        GIVE_FDS => {
            let count = u32::from_le_bytes(request.bytes().try_into().unwrap());
            for piece in [&b"in "[..], b"three ", b"pieces"] {
                reply.put(piece)?;
            }
            let null = File::open("/dev/null")?;
            (0..count).try_for_each(|_| reply.put_fd(null.try_clone()?.into()))
        }
        NO_RIGHTS => reply.put(&[u8::from(fds::pass_rights(fds::own_socket(), false))]),
        UNASKED_FD => {
            let header = RawHeader { kind: Kind::Reply as u8, fd_count: 1, ..RawHeader::default() };
            let mut stream = Stream::from(fds::own_socket().try_clone_to_owned()?);
            let null = File::open("/dev/null")?;
            stream.send_with(&[&header.bytes()], &[null.as_fd()]).unwrap();
            std::thread::sleep(Duration::from_secs(600));
            Ok(())
        }
        UNTIL_CANCELLED => {
            while !request.is_cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        }
        APPEND_BYTE => {
            let mut file = File::from(request.take_fd().ok_or(Refusal::new(1, "no fd"))?);
            file.write_all(&request.bytes()[..1])?;
            std::thread::sleep(Duration::from_millis(2));
            Ok(())
        }
        ADD_ONE => {
            let block = request.block().ok_or(Refusal::new(1, "no block"))?;
            let (bytes, mut at, mut piece) = (block.bytes(), 0, [0; 1000]);
            loop {
                let len = bytes.read_at(at, &mut piece);
                if len == 0 {
                    break;
                }
                piece.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
                assert_eq!(block.space().write_at(at, &piece[..len]), len);
                at += len;
            }
            reply.put(&at.to_le_bytes())?;
            block.reply(at)
        }
        TO_FILE_AND_BACK => {
            let block = request.block().ok_or(Refusal::new(1, "no block"))?;
            let mut file = File::from(request.take_fd().ok_or(Refusal::new(1, "no fd"))?);
            block.bytes().write_to(&file)?;
            file.rewind()?;
            let len = block.space().read_from(&file)?;
            block.reply(len)
        }
        // Reports that it has begun, and reads its block when told to.
        LOOK_LATER => {
            let block = request.block().ok_or(Refusal::new(1, "no block"))?;
            let mut gate = UnixStream::from(request.take_fd().ok_or(Refusal::new(1, "no fd"))?);
            gate.write_all(b"b")?;
            gate.read_exact(&mut [0])?;
            let mut bytes = vec![0; block.bytes().len()];
            block.bytes().read_at(0, &mut bytes);
            gate.write_all(&bytes)?;
            Ok(())
        }
        SPOIL_AND_EXIT if !request.is_resent() => {
            let block = request.block().ok_or(Refusal::new(1, "no block"))?;
            block.reply(BLOCK)?;
            block.space().write_at(1, b"!");
            ipc_barrier::exit(3);
        }
        SPOIL_AND_EXIT => {
            let block = request.block().ok_or(Refusal::new(1, "no block"))?;
            let mut bytes = vec![0; block.bytes().len()];
            block.bytes().read_at(0, &mut bytes);
            reply.put(&bytes)
        }
        NOTES => {
            let sent = request.note(1, request.bytes()) && ipc_worker::note(2, request.bytes());
            let said = ipc_worker::last_words("last words");
            reply.put(&[u8::from(sent), u8::from(said)])
        }
        _ => Err(Refusal::UNKNOWN_METHOD),
    }
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

pub(crate) fn worker() -> Worker<u32, impl Launch> {
    Worker::<u32, _>::start(over::fork(handle)).unwrap()
}

/// A worker with two blocks.
pub(crate) fn lending() -> Worker<u32, impl Launch> {
    Worker::<u32, _>::start(over::fork(handle).blocks::<2>(BLOCK)).unwrap()
}

/// An event's contents, without borrows.
#[derive(Debug, PartialEq)]
pub(crate) enum Told {
    Reply(u32, Vec<u8>),
    Refused(u32, i32),
    Lost(u32, How),
    SetAside(u32, How),
    Unsendable(u32, i32),
    Late(u32),
    Cancelled(u32),
    Died(Ended),
    NotStarted(String),
    Note(Option<u32>, u16, Vec<u8>),
    Started(usize),
    GaveUp(String),
}

pub(crate) fn told(event: Event<'_, u32>) -> Told {
    match event {
        Event::Done { tag, outcome } => match outcome {
            Outcome::Reply(reply) => Told::Reply(tag, reply.bytes().to_vec()),
            Outcome::Refused(refusal) => Told::Refused(tag, refusal.code),
            Outcome::Unsendable(error) => Told::Unsendable(tag, error.errno.0),
            Outcome::Lost(lost) => Told::Lost(tag, lost.how),
            Outcome::SetAside(lost) => Told::SetAside(tag, lost.how),
            Outcome::DeadlinePassed => Told::Late(tag),
            Outcome::Cancelled => Told::Cancelled(tag),
            other => panic!("{tag}: {other:?}"),
        },
        Event::Died(ended) => Told::Died(ended),
        Event::Note { tag, note } => Told::Note(tag.copied(), note.number(), note.bytes().to_vec()),
        Event::NotStarted(error) => Told::NotStarted(error.to_string()),
        Event::Started { resent } => Told::Started(resent),
        Event::GaveUp(reason) => Told::GaveUp(reason.to_string()),
        other => panic!("{other:?}"),
    }
}

/// Turns until `enough` events were told.
pub(crate) fn turn_until<L: Launch, const S: usize, const B: usize>(
    worker: &mut Worker<u32, L, S, B>,
    mut enough: impl FnMut(&[Told]) -> bool,
) -> Vec<Told> {
    let limit = soon();
    let mut list = Vec::new();
    loop {
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            list.push(told(event));
        }
        if enough(&list) {
            return list;
        }
        assert!(Instant::now() < limit, "not enough in time: {list:?}");
        let deadline = worker.next_deadline().map_or(limit, |next| next.min(limit));
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(deadline)).unwrap();
    }
}

/// Makes one call and returns its outcome.
pub(crate) fn call<L: Launch>(worker: &mut Worker<u32, L>, method: u16, bytes: &[u8]) -> Told {
    call_in(worker, method, bytes)
}

/// Makes one call to any worker and returns its outcome.
pub(crate) fn call_in<L: Launch, const S: usize, const B: usize>(
    worker: &mut Worker<u32, L, S, B>,
    method: u16,
    bytes: &[u8],
) -> Told {
    let mut outcome = None;
    worker
        .call_until(Call::new(method, &[bytes]).reply_fds(1), 0, soon(), |event| {
            match told(event) {
                Told::Died(_) | Told::Started(_) => {}
                other => outcome = Some(other),
            }
        })
        .unwrap();
    outcome.unwrap()
}
