//! The messages: the same bytes for every contender, checked on both sides.

use std::borrow::Cow;

use crate::contender::Trouble;

/// The first byte tells the peer what to do with a message.
pub(crate) mod kind {
    /// Send it back unchanged.
    pub(crate) const ECHO: u8 = 0;
    /// Count it.
    pub(crate) const ONE_WAY: u8 = 1;
    /// Send it back with the count as its number.
    pub(crate) const COUNT: u8 = 2;
}

/// Bytes of the kind and the number at the front; the number is also at the end.
const FRONT: usize = 16;
const BACK: usize = 8;

/// The smallest message.
pub(crate) const LEAST: usize = FRONT + BACK;

/// Messages up to this size are compared as a whole. Of larger ones most are compared only by the
/// numbers at both ends, so that the bench measures copies and not comparisons.
const COMPARED: usize = 4096;
const COMPARED_EVERY: u64 = 64;

/// Main's message, with a new number each time.
pub(crate) struct Message {
    bytes: Vec<u8>,
    number: u64,
}

impl Message {
    pub(crate) fn new(size: usize) -> Self {
        Self { bytes: pattern(size), number: 0 }
    }

    /// Returns the next message.
    pub(crate) fn next(&mut self, kind: u8) -> &[u8] {
        self.number += 1;
        self.bytes[0] = kind;
        put_number(&mut self.bytes, self.number);
        &self.bytes
    }

    /// Returns the last message.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the number of the last message.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Checks that a reply has the bytes that were sent, with the given number.
    pub(crate) fn check(&self, reply: &[u8], number: u64) -> Result<(), Trouble> {
        whole(reply.len(), self.bytes.len())?;
        let (front, back) = numbers(reply);
        if (front, back) != (number, number) {
            return Err(Trouble::Failed(format!("numbers {front} and {back}, expected {number}")));
        }
        is_intact(reply, &self.bytes, number)
    }
}

/// The peer's side.
#[derive(Clone)]
pub(crate) struct Service {
    pattern: Vec<u8>,
    one_ways: u64,
}

impl Service {
    pub(crate) fn new(size: usize) -> Self {
        Self { pattern: pattern(size), one_ways: 0 }
    }

    /// Returns the size of every message.
    pub(crate) fn size(&self) -> usize {
        self.pattern.len()
    }

    /// Checks a message and returns the reply, if it has one.
    pub(crate) fn answer<'a>(
        &mut self,
        message: &'a [u8],
    ) -> Result<Option<Cow<'a, [u8]>>, Trouble> {
        whole(message.len(), self.size())?;
        let (front, back) = numbers(message);
        if front != back {
            return Err(Trouble::Failed(format!("the numbers {front} and {back} differ")));
        }
        is_intact(message, &self.pattern, front)?;
        match message[0] {
            kind::ECHO => Ok(Some(message.into())),
            kind::ONE_WAY => {
                self.one_ways += 1;
                Ok(None)
            }
            kind::COUNT => {
                let mut reply = message.to_vec();
                put_number(&mut reply, self.one_ways);
                Ok(Some(reply.into()))
            }
            other => Err(Trouble::Failed(format!("a message of unknown kind {other}"))),
        }
    }
}

/// Refuses a message of the wrong length.
pub(crate) fn whole(len: usize, size: usize) -> Result<(), Trouble> {
    match len == size {
        true => Ok(()),
        false => Err(Trouble::Failed(format!("{len} bytes, expected {size}"))),
    }
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size.max(LEAST)).map(|index| (index * 31 % 251) as u8).collect()
}

/// Compares all bytes between the numbers.
fn is_intact(message: &[u8], pattern: &[u8], number: u64) -> Result<(), Trouble> {
    let is_compared = message.len() <= COMPARED || number % COMPARED_EVERY == 1;
    let middle = FRONT..message.len() - BACK;
    match is_compared && message[middle.clone()] != pattern[middle] {
        true => Err(Trouble::Failed("a message with changed bytes".into())),
        false => Ok(()),
    }
}

fn put_number(message: &mut [u8], number: u64) {
    let back = message.len() - BACK;
    message[8..FRONT].copy_from_slice(&number.to_le_bytes());
    message[back..].copy_from_slice(&number.to_le_bytes());
}

fn numbers(message: &[u8]) -> (u64, u64) {
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap_or_default();
    (number(&message[8..FRONT]), number(&message[message.len() - BACK..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(service: &mut Service, message: &[u8]) -> Option<Vec<u8>> {
        service.answer(message).unwrap().map(Cow::into_owned)
    }

    #[test]
    fn an_echo_is_what_was_sent() {
        let (mut message, mut service) = (Message::new(64), Service::new(64));
        let mut bytes = reply(&mut service, message.next(kind::ECHO)).unwrap();
        assert!(message.check(&bytes, 1).is_ok());
        assert!(message.check(&bytes, 2).is_err(), "the reply to another message");
        bytes[40] ^= 1;
        assert!(message.check(&bytes, 1).is_err(), "a byte has changed");
        assert!(message.check(&bytes[..63], 1).is_err(), "it is truncated");
    }

    #[test]
    fn one_ways_are_counted() {
        let (mut message, mut service) = (Message::new(64), Service::new(64));
        for _ in 0..3 {
            assert_eq!(reply(&mut service, message.next(kind::ONE_WAY)), None);
        }
        let bytes = reply(&mut service, message.next(kind::COUNT)).unwrap();
        assert!(message.check(&bytes, 3).is_ok());
    }

    #[test]
    fn a_torn_message_is_refused() {
        let (mut message, mut service) = (Message::new(64), Service::new(64));
        let mut bytes = message.next(kind::ECHO).to_vec();
        bytes[60] ^= 1;
        assert!(service.answer(&bytes).is_err(), "the numbers differ");
        assert!(service.answer(&bytes[..32]).is_err(), "it is truncated");
        bytes[60] ^= 1;
        assert!(service.answer(&bytes).is_ok());
        bytes[40] ^= 1;
        assert!(service.answer(&bytes).is_err(), "a byte has changed");
    }
}
