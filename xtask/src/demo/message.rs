//! The messages that the demo sends. Each can be reproduced from its phase and number.

use super::phase::Phase;

/// The start of the part of a message that identifies it.
const MARK: &str = "xtask-demo message ";

/// One syslog message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    pub(crate) phase: Phase,
    pub(crate) number: u64,
}

/// The sender and the form of a message.
enum Form {
    Rfc3164,
    Rfc5424,
    Logger,
}

impl Message {
    /// `logger` sends the messages from this number on.
    pub(crate) const BY_LOGGER: u64 = 1 << 32;
    /// The tag that `logger` puts before them.
    pub(crate) const TAG: &str = "xtask";

    /// RFC 3164 and RFC 5424 in turn.
    fn form(self) -> Form {
        match self.number {
            Self::BY_LOGGER.. => Form::Logger,
            number if number % 2 == 0 => Form::Rfc3164,
            _ => Form::Rfc5424,
        }
    }

    /// The datagram, or the line for `logger`.
    pub(crate) fn text(self) -> String {
        let body = self.body();
        match self.form() {
            Form::Rfc3164 => format!("<13>Oct 11 22:14:15 demo xtask[1]: {body}"),
            Form::Rfc5424 => {
                format!("<165>1 2003-10-11T22:14:15.003Z demo.example.org xtask 1 ID47 {body}")
            }
            Form::Logger => body,
        }
    }

    /// How its line in the log ends. Before that comes the time, from the message or of receipt.
    pub(crate) fn written(self) -> String {
        let head = match self.form() {
            Form::Rfc3164 => "demo xtask[1]:",
            Form::Rfc5424 => "demo.example.org xtask[1]: ID47",
            Form::Logger => "xtask:",
        };
        format!("{head} {}", self.body())
    }

    fn body(self) -> String {
        let Self { phase, number } = self;
        let key = phase.key();
        match self.form() {
            Form::Rfc3164 => format!("{MARK}{key} {number} of the demo, as 3164"),
            Form::Rfc5424 => {
                format!("[demo@32473 phase=\"{key}\"] {MARK}{key} {number} of the demo, as 5424")
            }
            Form::Logger => format!("{MARK}{key} {number} of the demo, by logger"),
        }
    }

    /// Finds the message that the line ends with; `None` when it is torn or not one of ours.
    pub(crate) fn at_end_of(line: &str) -> Option<Self> {
        let (_, name) = line.split_once(MARK)?;
        let mut words = name.split(' ');
        let phase = Phase::from_key(words.next()?)?;
        let message = Self { phase, number: words.next()?.parse().ok()? };
        let before = line.strip_suffix(&message.written())?;
        // If a line was torn and continued, it has a second header.
        let torn = before.contains("xtask") || before.matches(".notice ").count() > 1;
        (!torn).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "2026-01-02T03:04:05Z user.notice ";

    #[test]
    fn message_is_found_at_the_end_of_its_line() {
        for number in [0, 1, 12_345, Message::BY_LOGGER + 1] {
            let message = Message { phase: Phase::Killed, number };
            for time in ["", "Oct 11 22:14:15 "] {
                let line = format!("{HEAD}{time}{}", message.written());
                assert_eq!(Message::at_end_of(&line), Some(message));
            }
        }
    }

    #[test]
    fn torn_line_holds_no_message() {
        let text = Message { phase: Phase::Worker, number: 1_234 }.written();
        for len in 0..text.len() {
            assert_eq!(Message::at_end_of(&text[..len]), None, "cut at {len}");
        }
        for start in 1..text.len() {
            assert_eq!(Message::at_end_of(&text[start..]), None, "begun at {start}");
        }
    }

    #[test]
    fn two_messages_in_a_line_are_torn() {
        let [one, two] = [1, 2].map(|number| Message { phase: Phase::Worker, number }.written());
        assert_eq!(Message::at_end_of(&format!("{HEAD}{one}{HEAD}{two}")), None);
        assert_eq!(Message::at_end_of(&format!("{HEAD}{}{HEAD}{two}", &one[..6])), None);
    }
}
