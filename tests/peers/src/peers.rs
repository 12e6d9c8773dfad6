//! The contenders, one file each. To add one, write its file and add it to the table.

mod bare;
mod iceoryx;
mod interprocess;
mod ipc_channel;
mod large;
mod meeting;
mod procspawn;
mod ring;
mod sendfd;
mod tokio_codec;
mod tokio_unix_ipc;
mod transport;
mod uds;
mod worker;

pub(crate) use procspawn::init as init_procspawn;
pub(crate) use worker::serve_if_asked;

use crate::contender::Entrant;

/// All contenders. Ratios are to the first one that does the work.
pub(crate) const ALL: &[Entrant] = &[
    Entrant {
        name: "bare stream",
        how: "a stream socketpair, send and recv; for descriptors sendmsg and recvmsg",
        package: None,
        start: bare::start,
    },
    Entrant {
        name: "bare futex",
        how: "a word each way in shared memory, with futex",
        package: None,
        start: meeting::futex,
    },
    Entrant { name: "bare pipe", how: "a pipe each way", package: None, start: meeting::pipe },
    Entrant {
        name: "bare ring, futex",
        how: "a ring each way in shared memory, with futex for a sleeping reader",
        package: None,
        start: ring::sleeping,
    },
    Entrant {
        name: "bare ring, spinning",
        how: "the same, with spinning readers",
        package: None,
        start: ring::spinning,
    },
    Entrant {
        name: "ipc-transport",
        how: "`Outbox` and `Inbox` over a `Stream`, blocking",
        package: Some("ipc-transport"),
        start: transport::sleeping,
    },
    Entrant {
        name: "ipc-transport, spinning",
        how: "the same, with `Patience::SPIN`",
        package: Some("ipc-transport"),
        start: transport::spinning,
    },
    Entrant {
        name: "ipc-transport, ring",
        how: "`Outbox` and `Inbox` over a `Ring`, blocking",
        package: Some("ipc-transport"),
        start: transport::ring_sleeping,
    },
    Entrant {
        name: "ipc-transport, ring, spinning",
        how: "the same, with `Patience::SPIN`",
        package: Some("ipc-transport"),
        start: transport::ring_spinning,
    },
    Entrant {
        name: "ipc-worker",
        how: "`Start::fork`; `call_until`, `send_until`, and `try_call` with `turn` for 32 in flight",
        package: Some("ipc-worker"),
        start: worker::forked,
    },
    Entrant {
        name: "ipc-worker, spinning",
        how: "the same, with `Patience::SPIN`",
        package: Some("ipc-worker"),
        start: worker::spinning,
    },
    Entrant {
        name: "ipc-worker, ring",
        how: "`Start::over_ring`",
        package: Some("ipc-worker"),
        start: worker::ring_forked,
    },
    Entrant {
        name: "ipc-worker, ring, spinning",
        how: "the same, with `Patience::SPIN`",
        package: Some("ipc-worker"),
        start: worker::ring_spinning,
    },
    Entrant {
        name: "ipc-worker, large",
        how: "`Start::fork`, with `BYTES` for a payload of 4 MiB; the receiver checks both ends of it",
        package: Some("ipc-worker"),
        start: large::by_socket,
    },
    Entrant {
        name: "ipc-worker, blocks",
        how: "`Start::blocks`: main copies the payload in and the handler checks it in place; back, the handler copies it in and main copies it out",
        package: Some("ipc-worker"),
        start: large::in_blocks,
    },
    Entrant {
        name: "ipc-worker, exec",
        how: "`Start::exec_self`",
        package: Some("ipc-worker"),
        start: worker::executed,
    },
    Entrant {
        name: "ipc-barrier",
        how: "`place_and_sync` on the lane `Page`",
        package: Some("ipc-barrier"),
        start: meeting::barrier,
    },
    Entrant { name: "uds", how: "`UnixSeqpacketConn`", package: Some("uds"), start: uds::start },
    Entrant {
        name: "sendfd",
        how: "`SendWithFd` and `RecvWithFd` over `UnixStream`, without frames",
        package: Some("sendfd"),
        start: sendfd::start,
    },
    Entrant {
        name: "interprocess",
        how: "a local socket, without frames",
        package: Some("interprocess"),
        start: interprocess::start,
    },
    Entrant {
        name: "ipc-channel",
        how: "a bytes channel each way",
        package: Some("ipc-channel"),
        start: ipc_channel::start,
    },
    Entrant {
        name: "tokio, codec, postcard",
        how: "`UnixStream` on one thread, `LengthDelimitedCodec`, postcard",
        package: Some("tokio"),
        start: tokio_codec::start,
    },
    Entrant {
        name: "tokio-unix-ipc",
        how: "`RawSender` and `RawReceiver` on one thread",
        package: Some("tokio-unix-ipc"),
        start: tokio_unix_ipc::start,
    },
    Entrant {
        name: "iceoryx2, events",
        how: "publish and subscribe each way, read in place, and an event for a sleeping reader",
        package: Some("iceoryx2"),
        start: iceoryx::events,
    },
    Entrant {
        name: "iceoryx2, polling",
        how: "the same, with polling readers",
        package: Some("iceoryx2"),
        start: iceoryx::polling,
    },
    Entrant {
        name: "procspawn",
        how: "functions called in a one-process pool",
        package: Some("procspawn"),
        start: procspawn::start,
    },
];
