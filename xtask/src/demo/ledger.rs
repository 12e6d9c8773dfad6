//! Compares the daemon's files with the messages that were sent.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::Path,
};

use super::{message::Message, phase::Phase};

/// How many torn lines are kept for the report.
const SHOWN: usize = 5;

/// How often each message is in the files.
#[derive(Default)]
pub(crate) struct Ledger {
    found: HashMap<Message, u64>,
    /// How many lines are not whole messages of ours.
    pub(crate) torn: u64,
    /// The first torn lines.
    pub(crate) torn_lines: Vec<String>,
}

/// The fates of the accepted messages of a phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    /// How many are in the files at least once.
    pub(crate) written: u64,
    /// How many are there more than once.
    pub(crate) doubled: u64,
    /// How many are missing and were not reported lost.
    pub(crate) missing: u64,
    /// How many are missing but were reported lost, each with its text.
    pub(crate) lost: u64,
}

impl Ledger {
    /// Reads every file of the folder.
    pub(crate) fn read(dir: &Path) -> io::Result<Self> {
        let mut ledger = Self::default();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // The folder also has the mark of a running daemon.
            if entry.file_name().as_encoded_bytes().starts_with(b"log") {
                ledger.take(&fs::read(entry.path())?);
            }
        }
        Ok(ledger)
    }

    /// Takes the lines of a file. A last line with no end is torn.
    fn take(&mut self, file: &[u8]) {
        for line in file.split_inclusive(|&byte| byte == b'\n') {
            let text = String::from_utf8_lossy(line);
            match text.strip_suffix('\n').and_then(Message::at_end_of) {
                Some(message) => *self.found.entry(message).or_default() += 1,
                None => self.note_torn(&text),
            }
        }
    }

    fn note_torn(&mut self, text: &str) {
        self.torn += 1;
        if self.torn_lines.len() < SHOWN {
            self.torn_lines.push(text.chars().take(300).collect());
        }
    }

    /// Counts and removes the accepted messages of a phase.
    pub(crate) fn settle(
        &mut self,
        phase: Phase,
        accepted: &[u64],
        lost: &HashSet<Message>,
    ) -> Fate {
        let mut fate = Fate::default();
        for &number in accepted {
            let message = Message { phase, number };
            match self.found.remove(&message) {
                Some(times) => {
                    fate.written += 1;
                    fate.doubled += u64::from(times > 1);
                }
                None if lost.contains(&message) => fate.lost += 1,
                None => fate.missing += 1,
            }
        }
        fate
    }

    /// How many messages are left in the files: no client sent them.
    pub(crate) fn strays(&self) -> usize {
        self.found.len()
    }
}

/// Finds the messages that the daemon reports with these words on its stderr.
pub(crate) fn named(said: &[String], words: &str) -> HashSet<Message> {
    said.iter()
        .filter_map(|line| Message::at_end_of(line.strip_prefix(words)?.trim_start()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u64) -> Message {
        Message { phase: Phase::Worker, number }
    }

    fn file(numbers: &[u64]) -> Vec<u8> {
        let line = |&number| format!("now {}\n", message(number).written());
        numbers.iter().map(line).collect::<String>().into_bytes()
    }

    #[test]
    fn every_accepted_message_has_one_fate() {
        let mut ledger = Ledger::default();
        ledger.take(&file(&[1, 2]));
        ledger.take(&file(&[2, 3, 9]));
        let lost = HashSet::from([message(3), message(4)]);
        let fate = ledger.settle(Phase::Worker, &[1, 2, 3, 4, 5], &lost);
        assert_eq!(fate, Fate { written: 3, doubled: 1, missing: 1, lost: 1 });
        assert_eq!(ledger.strays(), 1);
        assert_eq!(ledger.torn, 0);
    }

    #[test]
    fn message_of_another_phase_is_another_message() {
        let mut ledger = Ledger::default();
        ledger.take(&file(&[1]));
        assert_eq!(ledger.settle(Phase::Killed, &[1], &HashSet::new()).missing, 1);
        assert_eq!(ledger.strays(), 1);
    }

    #[test]
    fn line_without_end_is_torn() {
        let mut ledger = Ledger::default();
        let whole = file(&[1, 2]);
        ledger.take(&whole[..whole.len() - 1]);
        assert_eq!(ledger.torn, 1);
        assert_eq!(ledger.settle(Phase::Worker, &[1], &HashSet::new()).written, 1);
    }

    #[test]
    fn bytes_that_are_no_text_are_torn() {
        let mut ledger = Ledger::default();
        ledger.take(b"\xff\xfe\n\n");
        assert_eq!(ledger.torn, 2);
    }

    #[test]
    fn lost_message_is_known_by_its_name() {
        let said = [
            format!("logd: lost (running): {}", message(7).written()),
            format!("logd: written but perhaps not synced: {}", message(8).written()),
            "logd: listening".into(),
        ];
        assert_eq!(named(&said, "logd: lost (running):"), HashSet::from([message(7)]));
    }
}
