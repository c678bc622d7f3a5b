//! Counts of times by how long they are: what a histogram of `/metrics` holds, and what can be said of it.

/// Upper ends in seconds, and how many lie below each and above the one before. What is longer than the last end is
/// counted behind it.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Spread {
    ends: Vec<f64>,
    counts: Vec<u64>,
}

impl Spread {
    /// An empty one with these ends, in order.
    pub(crate) fn new(ends: &[f64]) -> Self {
        Self { ends: ends.to_vec(), counts: vec![0; ends.len() + 1] }
    }

    /// One of counts that were taken elsewhere: below each end, all that are shorter, as Prometheus tells them.
    pub(crate) fn of_cumulative(ends: Vec<f64>, cumulative: &[u64], all: u64) -> Self {
        let mut before = 0;
        let up_to = cumulative.iter().copied().chain([all]);
        let counts = up_to.map(|n| n.saturating_sub(std::mem::replace(&mut before, n))).collect();
        Self { ends, counts }
    }

    pub(crate) fn add(&mut self, seconds: f64, times: u64) {
        let place = self.ends.partition_point(|end| *end < seconds);
        if let Some(count) = self.counts.get_mut(place) {
            *count += times;
        }
    }

    /// What came since an earlier reading of the same.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let earlier = before.counts.iter().chain(std::iter::repeat(&0));
        let counts = self.counts.iter().zip(earlier).map(|(n, b)| n.saturating_sub(*b)).collect();
        Self { ends: self.ends.clone(), counts }
    }

    /// Both together, of the same ends.
    pub(crate) fn merge(&mut self, other: &Self) {
        if self.ends.is_empty() {
            *self = other.clone();
            return;
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(n, o)| *n += o);
    }

    /// What this share of all is not longer than, in milliseconds: between two ends as if all were evenly spread there.
    /// None of nothing; infinite where it lies behind the last end.
    pub(crate) fn quantile_ms(&self, share: f64) -> Option<f64> {
        let all: u64 = self.counts.iter().sum();
        if all == 0 {
            return None;
        }
        let wanted = share * all as f64;
        let (mut below, mut begin) = (0.0, 0.0);
        for (count, end) in self.counts.iter().zip(&self.ends) {
            let up_to = below + *count as f64;
            if *count > 0 && up_to >= wanted {
                return Some((begin + (end - begin) * (wanted - below) / *count as f64) * 1e3);
            }
            (below, begin) = (up_to, *end);
        }
        Some(f64::INFINITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_where_its_share_is_reached() {
        let mut spread = Spread::new(&[0.01, 0.02, 0.1]);
        assert_eq!(spread.quantile_ms(0.99), None);
        spread.add(0.005, 98);
        spread.add(0.015, 1);
        assert_eq!(spread.quantile_ms(0.5).map(|q| q.round()), Some(5.0));
        let p99 = spread.quantile_ms(0.99).unwrap();
        assert!(p99 > 10.0 && p99 <= 20.0, "{p99}");
        spread.add(7.0, 50);
        assert_eq!(spread.quantile_ms(0.99), Some(f64::INFINITY));
    }

    #[test]
    fn what_prometheus_tells_is_the_same() {
        let told = Spread::of_cumulative(vec![0.01, 0.02], &[3, 5], 6);
        let mut own = Spread::new(&[0.01, 0.02]);
        own.add(0.01, 3);
        own.add(0.011, 2);
        own.add(1.0, 1);
        assert_eq!(told, own);
        let mut later = own.clone();
        later.add(0.001, 4);
        assert_eq!(later.since(&own).quantile_ms(1.0), Some(10.0));
        let mut both = Spread::default();
        both.merge(&own);
        both.merge(&later.since(&own));
        assert_eq!(both, later);
    }
}
