//! Received frames, collected for comparison.

use ipc_tests::fds::{id_of, is_cloexec};
use ipc_transport::{Arrived, FdsLost, Inbox, PassFds};

/// The parts of a received frame, owned.
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

/// Takes every complete frame out of an inbox.
pub(crate) fn take<const N: usize>(inbox: &mut Inbox<N>, list: &mut Vec<Got>) {
    while let Some(header) = inbox.advance().unwrap() {
        let arrival = inbox.current();
        let files = arrival.fds.iter().map(id_of).collect();
        assert!(arrival.fds.iter().all(is_cloexec));
        let payload = arrival.payload.to_vec();
        list.push(Got { id: header.id(), payload, files, lost: arrival.fds_lost });
    }
}

/// Receives and takes frames until nothing is left.
pub(crate) fn take_all<const N: usize>(
    inbox: &mut Inbox<N>,
    from: &mut impl PassFds,
    list: &mut Vec<Got>,
) {
    loop {
        let received = inbox.receive_with(from, 253).unwrap();
        take(inbox, list);
        if received == Arrived::WouldBlock {
            return;
        }
    }
}
