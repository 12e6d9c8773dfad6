//! Datagrams as bytes, for the intake and for requests to the worker.

use core::time::Duration;

use super::line::{Datagram, Sender};
use super::words::Text;

/// Bytes before a message: time of receipt, sender, length, and how many bytes are missing.
pub(crate) const HEAD: usize = 8 + 4 + 13 + 4 + 8;

/// Returns the bytes that go before the message.
pub(crate) fn pack(datagram: &Datagram<'_>) -> [u8; HEAD] {
    let Datagram { received, sender, bytes, missing } = datagram;
    let (kind, ids) = match *sender {
        Sender::Unnamed => (0, [0; 3]),
        Sender::Kernel => (1, [0; 3]),
        Sender::Process(ids) => (2, ids),
    };
    // No datagram is longer.
    let len = u32::try_from(bytes.len()).unwrap_or(0);
    let mut head = [0; HEAD];
    let mut text = Text::new(&mut head);
    text.put(&received.as_secs().to_le_bytes());
    text.put(&received.subsec_nanos().to_le_bytes());
    text.put(&[kind]);
    ids.iter().for_each(|id| text.put(&id.to_le_bytes()));
    text.put(&len.to_le_bytes());
    text.put(&missing.to_le_bytes());
    head
}

/// Returns the datagram at the start of these bytes.
pub(crate) fn unpack(mut bytes: &[u8]) -> Option<Datagram<'_>> {
    let rest = &mut bytes;
    let seconds = u64::from_le_bytes(take(rest)?);
    let nanoseconds = u32::from_le_bytes(take(rest)?);
    let [kind] = take(rest)?;
    let ids = [take(rest)?, take(rest)?, take(rest)?].map(u32::from_le_bytes);
    let len = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
    let missing = u64::from_le_bytes(take(rest)?);
    Some(Datagram {
        received: Duration::new(seconds, nanoseconds),
        sender: match kind {
            0 => Sender::Unnamed,
            1 => Sender::Kernel,
            _ => Sender::Process(ids),
        },
        bytes: rest.get(..len)?,
        missing,
    })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}
