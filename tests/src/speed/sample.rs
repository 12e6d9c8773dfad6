//! Times of single operations in pairs of blocks, and the figures computed from them.

/// Two blocks that ran one after the other; times in ns per operation.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    /// The subject's times.
    pub subject: Vec<u64>,
    /// The floor's times.
    pub floor: Vec<u64>,
}

/// The result of one row's pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Over all of the subject's operations, in µs.
    pub median_us: f64,
    /// Over all of the subject's operations, in µs.
    pub p99_us: f64,
    /// Over all of the floor's operations, in µs.
    pub floor_median_us: f64,
    /// The median of the pairs' ratios; each ratio is that of the two blocks' medians.
    pub ratio: f64,
    /// The quartiles of the pairs' ratios.
    pub quartiles: (f64, f64),
    /// The smallest and the largest of the pairs' ratios.
    pub range: (f64, f64),
    /// The number of pairs.
    pub pairs: usize,
}

/// Computes the figures from the pairs. The ratio compares times, or throughputs, which inverts it.
/// Returns `None` if any block is empty.
pub fn summary(pairs: &[Pair], of_throughput: bool) -> Option<Figures> {
    let mut ratios = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let subject = as_us(percentile(&mut pair.subject.clone(), 500)?);
        let floor = as_us(percentile(&mut pair.floor.clone(), 500)?);
        ratios.push(if of_throughput { floor / subject } else { subject / floor });
    }
    ratios.sort_by(f64::total_cmp);
    let mut subject: Vec<u64> = pairs.iter().flat_map(|pair| &pair.subject).copied().collect();
    let mut floor: Vec<u64> = pairs.iter().flat_map(|pair| &pair.floor).copied().collect();
    let quarter = ratios.len() / 4;
    Some(Figures {
        median_us: as_us(percentile(&mut subject, 500)?),
        p99_us: as_us(percentile(&mut subject, 990)?),
        floor_median_us: as_us(percentile(&mut floor, 500)?),
        ratio: median(&ratios)?,
        quartiles: (*ratios.get(quarter)?, *ratios.get(ratios.len() - 1 - quarter)?),
        range: (*ratios.first()?, *ratios.last()?),
        pairs: ratios.len(),
    })
}

/// The median of sorted values: the middle one, or the mean of the middle two.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// The time that `per_mille` of all times do not exceed (nearest rank). Sorts the times.
pub fn percentile(times: &mut [u64], per_mille: usize) -> Option<u64> {
    times.sort_unstable();
    let rank = (times.len() * per_mille).div_ceil(1000).max(1);
    times.get(rank - 1).copied()
}

#[expect(clippy::cast_precision_loss, reason = "times far below 2^53 ns")]
fn as_us(time_ns: u64) -> f64 {
    time_ns as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(subject: &[u64], floor: &[u64]) -> Pair {
        Pair { subject: subject.to_vec(), floor: floor.to_vec() }
    }

    #[test]
    fn percentile_is_the_nearest_rank() {
        let mut times: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut times, 500), Some(50));
        assert_eq!(percentile(&mut times, 990), Some(99));
        assert_eq!(percentile(&mut times, 1000), Some(100));
        assert_eq!(percentile(&mut [7], 0), Some(7));
        assert_eq!(percentile(&mut [], 500), None);
    }

    #[test]
    fn median_of_an_even_number_is_between_the_two() {
        assert_eq!(median(&[1.0, 2.0, 4.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn ratio_is_the_median_of_the_pairs_not_of_all_times() {
        // During the second pair the machine was slower for both.
        let pairs = [pair(&[200], &[100]), pair(&[2000], &[1000]), pair(&[400], &[100])];
        let figures = summary(&pairs, false).unwrap();
        assert_eq!((figures.ratio, figures.range, figures.pairs), (2.0, (2.0, 4.0), 3));
        assert_eq!((figures.median_us, figures.p99_us), (0.4, 2.0));
    }

    #[test]
    fn ratio_of_throughput_is_the_other_way_round() {
        let figures = summary(&[pair(&[100, 100, 900], &[800])], true).unwrap();
        assert_eq!(figures.ratio, 8.0);
    }

    #[test]
    fn a_block_without_times_has_no_figures() {
        assert_eq!(summary(&[pair(&[], &[1])], false), None);
        assert_eq!(summary(&[], false), None);
    }
}
