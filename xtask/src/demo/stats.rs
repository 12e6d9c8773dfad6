//! The lines that `logd --stats` prints: a word, then `key=value` pairs.

use std::str::FromStr;

use rustix::process::Pid;

use super::figures::Histogram;

/// One line. Times are CLOCK_MONOTONIC, in ns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The daemon listens. `worker` is `None` if it writes inline.
    Ready { worker: Option<Pid> },
    /// Once per second.
    Second(Second),
    /// The worker has died.
    Died,
    /// A new worker is ready.
    Started { t: u64, worker: Option<Pid> },
    /// The first request after a restart is confirmed.
    FirstReply { t: u64 },
    /// The last figures before the daemon exits.
    End(Second),
}

/// The daemon's figures. `ticks`, `on_time` and `late` count since the previous line, the others
/// since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Second {
    pub(crate) written: u64,
    pub(crate) resent: u64,
    pub(crate) paused: u64,
    pub(crate) ticks: u64,
    pub(crate) on_time: u64,
    pub(crate) late: Histogram,
}

impl Line {
    /// Reads a line; the error says what is wrong with it.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let (word, pairs) = line.split_once(' ').unwrap_or((line, ""));
        let fields = Fields(pairs);
        let parsed = match word {
            "ready" => fields.worker().map(|worker| Self::Ready { worker }),
            "second" => fields.second().map(Self::Second),
            "died" => Ok(Self::Died),
            "started" => fields
                .number("t")
                .and_then(|t| fields.worker().map(|worker| Self::Started { t, worker })),
            "first-reply" => fields.number("t").map(|t| Self::FirstReply { t }),
            "end" => fields.second().map(Self::End),
            _ => Err("unknown first word".into()),
        };
        parsed.map_err(|why| format!("{why}: {line:?}"))
    }
}

struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn text(&self, key: &str) -> Result<&'a str, String> {
        self.0
            .split_whitespace()
            .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
            .ok_or_else(|| format!("no {key}="))
    }

    fn number<T: FromStr>(&self, key: &str) -> Result<T, String> {
        self.text(key)?.parse().map_err(|_| format!("{key}= is not a number"))
    }

    /// Reads `worker=`; 0 means no worker.
    fn worker(&self) -> Result<Option<Pid>, String> {
        match self.number("worker")? {
            0 => Ok(None),
            pid if pid < 0 => Err("worker= is negative".into()),
            pid => Ok(Pid::from_raw(pid)),
        }
    }

    fn second(&self) -> Result<Second, String> {
        Ok(Second {
            written: self.number("written")?,
            resent: self.number("resent")?,
            paused: self.number("paused")?,
            ticks: self.number("ticks")?,
            on_time: self.number("on_time")?,
            late: self.histogram("late")?,
        })
    }

    /// Reads `<us>:<count>,<us>:<count>…`; `-` when empty.
    fn histogram(&self, key: &str) -> Result<Histogram, String> {
        let mut histogram = Histogram::default();
        let text = self.text(key)?;
        if text == "-" {
            return Ok(histogram);
        }
        for bucket in text.split(',') {
            let (from_us, count) = bucket
                .split_once(':')
                .and_then(|(from_us, count)| Some((from_us.parse().ok()?, count.parse().ok()?)))
                .ok_or_else(|| format!("{key}= has a bad bucket {bucket:?}"))?;
            histogram.add(from_us, count);
        }
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_is_read() {
        let line = "second t=5 received=9 written=8 lost=0 refused=0 resent=1 deaths=1 ticks=1000 \
                    on_time=998 paused=3 late=0:990,12:8,1024:2";
        let mut late = Histogram::default();
        for (from_us, count) in [(0, 990), (12, 8), (1024, 2)] {
            late.add(from_us, count);
        }
        let second = Second { written: 8, resent: 1, paused: 3, ticks: 1000, on_time: 998, late };
        assert_eq!(Line::parse(line), Ok(Line::Second(second)));
    }

    #[test]
    fn empty_histogram_is_a_dash() {
        let line = "end t=5 written=0 resent=0 ticks=0 on_time=0 paused=0 late=-";
        assert_eq!(Line::parse(line), Ok(Line::End(Second::default())));
    }

    #[test]
    fn worker_zero_is_none() {
        assert_eq!(Line::parse("ready t=1 pid=7 worker=0"), Ok(Line::Ready { worker: None }));
        let started = Line::Started { t: 2, worker: Pid::from_raw(8) };
        assert_eq!(Line::parse("started t=2 worker=8 resent=4"), Ok(started));
        assert!(Line::parse("started t=2 worker=-8 resent=4").is_err());
    }

    #[test]
    fn death_and_first_reply_are_read() {
        assert_eq!(Line::parse("died t=1 ended=killed:9"), Ok(Line::Died));
        assert_eq!(Line::parse("first-reply t=3"), Ok(Line::FirstReply { t: 3 }));
    }

    #[test]
    fn line_that_is_not_understood_is_an_error_that_shows_it() {
        for line in ["", "hello", "first-reply", "first-reply t=x", "second t=1 late=1:"] {
            assert!(Line::parse(line).unwrap_err().contains(line));
        }
    }
}
