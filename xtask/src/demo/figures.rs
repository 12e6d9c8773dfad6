//! Histograms of times, and their percentiles.

use std::collections::BTreeMap;

/// The significant bits of a time that are kept. It is rounded down by at most 3 %.
const KEPT_BITS: u32 = 6;

/// How often each time, in µs, was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    counts: BTreeMap<u64, u64>,
}

impl Histogram {
    /// Adds a time, rounded down by at most 3 %.
    pub(crate) fn record(&mut self, time_us: u64) {
        let cut = (u64::BITS - time_us.leading_zeros()).saturating_sub(KEPT_BITS);
        self.add(time_us >> cut << cut, 1);
    }

    /// Adds `count` times of a bucket that begins at `from_us`.
    pub(crate) fn add(&mut self, from_us: u64, count: u64) {
        *self.counts.entry(from_us).or_default() += count;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (&from_us, &count) in &other.counts {
            self.add(from_us, count);
        }
    }

    /// The time that `per_mille` of all times do not exceed (nearest rank); `None` when empty.
    pub(crate) fn percentile(&self, per_mille: u64) -> Option<u64> {
        let rank = (self.count() * per_mille).div_ceil(1000).max(1);
        self.ranks().find_map(|(from_us, [_, seen])| (seen >= rank).then_some(from_us))
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Returns each time in µs, the shortest first, with how many are shorter and how many are not
    /// longer.
    pub(crate) fn ranks(&self) -> impl Iterator<Item = (u64, [u64; 2])> {
        self.counts.iter().scan(0, |seen, (&from_us, &count)| {
            let shorter = *seen;
            *seen += count;
            Some((from_us, [shorter, *seen]))
        })
    }

    pub(crate) fn max(&self) -> Option<u64> {
        self.counts.keys().next_back().copied()
    }
}

impl FromIterator<u64> for Histogram {
    fn from_iter<I: IntoIterator<Item = u64>>(times_us: I) -> Self {
        let mut histogram = Self::default();
        times_us.into_iter().for_each(|time_us| histogram.record(time_us));
        histogram
    }
}

/// Writes a time in µs as ms: `1.234 ms`, or `-` for `None`.
pub(crate) fn ms(time_us: Option<u64>) -> String {
    time_us.map_or("-".into(), |us| format!("{}.{:03} ms", us / 1000, us % 1000))
}

/// Writes a share in percent, rounded down so that only the whole is 100 %: `99.87 %`.
pub(crate) fn percent(part: u64, all: u64) -> String {
    match (part * 10_000).checked_div(all) {
        Some(share) => format!("{}.{:02} %", share / 100, share % 100),
        None => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_the_nearest_rank() {
        let mut histogram = Histogram::default();
        histogram.add(0, 990);
        histogram.add(500, 9);
        histogram.add(90_000, 1);
        assert_eq!(histogram.percentile(500), Some(0));
        assert_eq!(histogram.percentile(990), Some(0));
        assert_eq!(histogram.percentile(991), Some(500));
        assert_eq!(histogram.percentile(999), Some(500));
        assert_eq!(histogram.percentile(1000), Some(90_000));
        assert_eq!(histogram.max(), Some(90_000));
    }

    #[test]
    fn percentile_of_one_time_is_that_time() {
        let histogram: Histogram = [7].into_iter().collect();
        assert_eq!(histogram.percentile(0), Some(7));
        assert_eq!(histogram.percentile(999), Some(7));
    }

    #[test]
    fn empty_histogram_has_no_percentile() {
        assert_eq!(Histogram::default().percentile(500), None);
        assert_eq!(Histogram::default().max(), None);
    }

    #[test]
    fn time_is_rounded_down_by_at_most_three_percent() {
        for time_us in [0, 1, 63, 64, 1_000, 199_999, u64::MAX] {
            let kept = [time_us].into_iter().collect::<Histogram>().max().unwrap();
            assert!(kept <= time_us && time_us - kept <= time_us / 32);
        }
    }

    #[test]
    fn ranks_count_the_times_before_and_with_each() {
        let histogram: Histogram = [2, 1, 2, 9].into_iter().collect();
        let ranks: Vec<_> = histogram.ranks().collect();
        assert_eq!(ranks, [(1, [0, 1]), (2, [1, 3]), (9, [3, 4])]);
    }

    #[test]
    fn merged_histogram_counts_both() {
        let mut one: Histogram = [1, 2].into_iter().collect();
        one.merge(&[2, 3].into_iter().collect());
        assert_eq!(one, [1, 2, 2, 3].into_iter().collect());
    }

    #[test]
    fn figures_are_written_with_their_unit() {
        assert_eq!(ms(Some(1_204)), "1.204 ms");
        assert_eq!(ms(None), "-");
        assert_eq!(percent(9_999, 10_000), "99.99 %");
        assert_eq!(percent(99_999, 100_000), "99.99 %");
        assert_eq!(percent(0, 0), "-");
    }
}
