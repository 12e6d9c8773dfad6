//! Frames as they stand on the wire, and what arrived of them.

use std::os::fd::{AsFd, OwnedFd};

use heapless::Vec as FixedVec;
use ipc_frame::{Header, Kind, MAX_FDS};
use ipc_transport::{FdsLost, Inbox, PassFds};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(crate) type Fds = FixedVec<OwnedFd, 253>;

const _: () = assert!(MAX_FDS == 253);

/// A file that can be told from every other by [`id_of`].
pub(crate) fn file() -> OwnedFd {
    tempfile::tempfile().unwrap().into()
}

pub(crate) fn id_of(fd: impl AsFd) -> u64 {
    rustix::fs::fstat(fd).unwrap().st_ino
}

/// A frame as it stands on the wire.
pub(crate) fn frame(id: u64, fds: (u16, u32), payload: &[u8]) -> Vec<u8> {
    let header = Header {
        len: u32::try_from(payload.len()).unwrap(),
        fd_count: fds.0,
        fd_sequence: fds.1,
        ..Header::new(Kind::Request, 1, id)
    };
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// What a frame brought, with nothing borrowed.
#[derive(Debug, PartialEq)]
pub(crate) struct Got {
    pub(crate) id: u64,
    pub(crate) payload: Vec<u8>,
    pub(crate) files: Vec<u64>,
    pub(crate) lost: Option<FdsLost>,
}

pub(crate) fn got(id: u64, payload: &[u8], files: &[u64]) -> Got {
    Got { id, payload: payload.to_vec(), files: files.to_vec(), lost: None }
}

/// Takes every whole frame of an inbox.
pub(crate) fn take<const N: usize>(inbox: &mut Inbox<N>, list: &mut Vec<Got>) {
    while let Some(header) = inbox.advance().unwrap() {
        let arrival = inbox.current();
        let files = arrival.fds.iter().map(id_of).collect();
        assert!(arrival.fds.iter().all(is_cloexec));
        let payload = arrival.payload.to_vec();
        list.push(Got { id: header.id, payload, files, lost: arrival.fds_lost });
    }
}

/// Receives and takes until nothing is there.
pub(crate) fn take_all<const N: usize>(
    inbox: &mut Inbox<N>,
    from: &mut impl PassFds,
    list: &mut Vec<Got>,
) {
    loop {
        let received = inbox.receive(from).unwrap();
        take(inbox, list);
        if received.is_none() {
            return;
        }
    }
}

pub(crate) fn is_cloexec(fd: &OwnedFd) -> bool {
    rustix::io::fcntl_getfd(fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC)
}

/// Changes how many descriptors the process may open.
pub(crate) fn limit_fds(limit: u64) {
    let whole = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit), ..whole }).unwrap();
}
