//! How long packets spend inside: from the kernel's receive time stamp to the send, sampled.

use crate::counters::Count;
use crate::time::Nanos;

/// Buckets per doubling: a quantile is right to within a fifth.
const STEPS: u32 = 4;
/// The first bucket's upper bound is 2^10 ns, about a microsecond; the last but one's 2^30, a second.
const LOWEST: u32 = 10;
const HIGHEST: u32 = 30;

/// Buckets, the last of which has no bound.
pub const BUCKETS: usize = ((HIGHEST - LOWEST) * STEPS + 2) as usize;

/// Counts of samples by their length; one writer.
#[derive(Debug)]
pub struct Histogram {
    counts: [Count; BUCKETS],
    sum: Count,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| Count::default()), sum: Count::default() }
    }
}

impl Histogram {
    /// Counts one sample.
    pub fn record(&self, length: Nanos) {
        self.counts[bucket_of(length)].add(1);
        self.sum.add(length);
    }

    /// The counts now, in the order of [`bounds`], and the sum of all samples.
    #[must_use]
    pub fn get(&self) -> ([u64; BUCKETS], Nanos) {
        (std::array::from_fn(|bucket| self.counts[bucket].get()), self.sum.get())
    }
}

/// The upper bounds of all buckets but the last, in nanoseconds.
#[must_use]
pub fn bounds() -> [Nanos; BUCKETS - 1] {
    std::array::from_fn(|bucket| {
        let (doubling, step) = (bucket as u32 / STEPS, bucket as u64 % u64::from(STEPS));
        let base = 1u64 << (LOWEST + doubling);
        base + base * step / u64::from(STEPS)
    })
}

fn bucket_of(length: Nanos) -> usize {
    if length <= 1 << LOWEST {
        return 0;
    }
    let below = length - 1; // a bound belongs to the bucket that ends with it
    let doubling = below.ilog2();
    if doubling >= HIGHEST {
        return if length == 1 << HIGHEST { BUCKETS - 2 } else { BUCKETS - 1 };
    }
    let step = (below >> (doubling - STEPS.ilog2())) as u32 & (STEPS - 1);
    ((doubling - LOWEST) * STEPS + step + 1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_ends_its_bucket() {
        for (bucket, bound) in bounds().into_iter().enumerate() {
            assert_eq!(bucket_of(bound), bucket, "{bound}");
            assert_eq!(bucket_of(bound + 1), bucket + 1, "{bound} and one");
        }
        assert!(bounds().is_sorted());
    }

    #[test]
    fn extremes_have_a_place() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(Nanos::MAX), BUCKETS - 1);
    }

    #[test]
    fn samples_are_counted_and_summed() {
        let histogram = Histogram::default();
        for length in [500, 5_000, 5_000] {
            histogram.record(length);
        }
        let (counts, sum) = histogram.get();
        assert_eq!((counts.iter().sum::<u64>(), sum), (3, 10_500));
        assert_eq!(counts[bucket_of(5_000)], 2);
    }
}
