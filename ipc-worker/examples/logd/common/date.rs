//! Date and time, in the daemon's format and in clients' formats. Uses only `core`.

use core::time::Duration;

use super::words::Text;

const DAY: i64 = 86_400;
/// The last second of the year 9999.
const LAST: u64 = 253_402_300_799;
/// How many seconds a client's time may differ from the time of receipt and still count as equal.
const NEAR: i64 = 2;
/// Every time zone differs from UTC by a multiple of this, at most by `ZONES`.
const ZONE_STEP: i64 = 15 * 60;
const ZONES: i64 = 14 * 3600;
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Bytes of a time that `put` writes.
pub(crate) const LEN: usize = 27;

/// A time that a client wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// In seconds since 1970 (RFC 3339, with a zone).
    Exact(i64),
    /// A second of a day, of any year and in any zone (RFC 3164).
    Local { month: i64, day: i64, second: i64 },
}

impl Time {
    /// Returns whether this adds nothing to the time of receipt: they differ by at most two
    /// seconds. A time without a zone may be in any zone.
    pub(crate) fn is_near(self, received: Duration) -> bool {
        let received = i64::try_from(received.as_secs().min(LAST)).unwrap_or(0);
        match self {
            Self::Exact(seconds) => seconds.abs_diff(received) <= NEAR.unsigned_abs(),
            Self::Local { month, day, second } => {
                let (year, ..) = civil(received.div_euclid(DAY));
                (year - 1..=year + 1).any(|year| {
                    let away = days(year, month, day) * DAY + second - received;
                    let past_zone = (away + NEAR).rem_euclid(ZONE_STEP);
                    past_zone <= 2 * NEAR && away.abs() <= ZONES + NEAR
                })
            }
        }
    }

    /// Splits off a time of either form from the start, up to a space. Returns it and the rest.
    pub(crate) fn split(text: &[u8]) -> Option<(Self, &[u8])> {
        let mut rest = Rest(text);
        let time = rest.local().or_else(|| {
            rest = Rest(text);
            rest.exact()
        })?;
        rest.skip(b" ")?;
        Some((time, rest.0))
    }
}

/// Appends a time since 1970 in UTC, in the form `2001-02-03T04:05:06.000007Z`.
pub(crate) fn put(line: &mut Text<'_>, time: Duration) {
    let seconds = time.as_secs().min(LAST);
    let second = seconds % DAY.unsigned_abs();
    let (year, month, day) = civil(i64::try_from(seconds / DAY.unsigned_abs()).unwrap_or(0));
    for (number, width, end) in [
        (year.unsigned_abs(), 4, b'-'),
        (month.unsigned_abs(), 2, b'-'),
        (day.unsigned_abs(), 2, b'T'),
        (second / 3600, 2, b':'),
        (second / 60 % 60, 2, b':'),
        (second % 60, 2, b'.'),
        (u64::from(time.subsec_micros()), 6, b'Z'),
    ] {
        line.put_number(number, width);
        line.put(&[end]);
    }
}

/// Returns the days from 1970 to a date of the Gregorian calendar. Here a year begins in March, so
/// that the leap day comes last.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
        - 719_468
}

/// Returns year, month and day, from the days since 1970.
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

/// The text that is not parsed yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// `Oct 11 22:14:15`; the day may be padded with a space or a zero.
    fn local(&mut self) -> Option<Time> {
        let (name, rest) = self.0.split_first_chunk()?;
        let month = MONTHS.iter().position(|&month| month == name)?;
        self.0 = rest.strip_prefix(b" ")?;
        let form: &[u8] = if self.skip(b" ").is_some() { b"0 00:00:00" } else { b"00 00:00:00" };
        let [day, hour, minute, second] = self.numbers(form, [31, 23, 59, 60])?;
        let second = hour * 3600 + minute * 60 + second;
        Some(Time::Local { month: i64::try_from(month).ok()? + 1, day, second })
    }

    /// `2003-10-11T22:14:15.003Z` and `2003-10-11T22:14:15+02:00`.
    fn exact(&mut self) -> Option<Time> {
        let [year, month, day, hour, minute, second] =
            self.numbers(b"0000-00-00T00:00:00", [9999, 12, 31, 23, 59, 60])?;
        if self.skip(b".").is_some() {
            let [_] = self.numbers(b"0", [9])?;
            while let Some([_]) = self.numbers(b"0", [9]) {}
        }
        let local = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
        if self.skip(b"Z").is_some() {
            return Some(Time::Exact(local));
        }
        let sign = if self.skip(b"-").is_some() { -1 } else { self.skip(b"+").map(|()| 1)? };
        let [hours, minutes] = self.numbers(b"00:00", [23, 59])?;
        Some(Time::Exact(local - sign * (hours * 3600 + minutes * 60)))
    }

    /// Takes a text of a form in which each zero stands for a digit. Returns the numbers in it, if
    /// they are within the limits.
    fn numbers<const N: usize>(&mut self, form: &[u8], limits: [i64; N]) -> Option<[i64; N]> {
        let (text, rest) = self.0.split_at_checked(form.len())?;
        let (mut numbers, mut index) = ([0; N], 0);
        for (&byte, &wanted) in text.iter().zip(form) {
            if wanted == b'0' && byte.is_ascii_digit() {
                let number = numbers.get_mut(index)?;
                *number = *number * 10 + i64::from(byte - b'0');
            } else if byte == wanted {
                index += 1;
            } else {
                return None;
            }
        }
        self.0 = rest;
        numbers.iter().zip(limits).all(|(&number, limit)| number <= limit).then_some(numbers)
    }

    fn skip(&mut self, text: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }
}
