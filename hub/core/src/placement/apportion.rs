//! Dividing a whole number by weights.

use std::{cmp::Ordering, collections::BinaryHeap};

/// Divides `total` by `weights`, in their order: one after the other goes to whoever has the highest
/// `weight / (2 × own + 1)`, ties to the first. Whoever has no weight gets none, unless nobody has one:
/// then all are the same.
///
/// This is the method of Webster and Sainte-Laguë. Like every divisor method it is house-monotone:
/// nobody loses anything when `total` grows; and it is uniform: when somebody leaves, the others only
/// gain (M. Balinski, H. P. Young: *Fair Representation*, 1982, chapters 8 and 9).
#[must_use]
pub fn apportion(total: u32, weights: &[u64]) -> Vec<u32> {
    let mut weights: Vec<u128> = weights.iter().map(|one| u128::from(*one)).collect();
    if weights.iter().all(|one| *one == 0) {
        weights.fill(1);
    }
    let mut own = first(total, &weights);
    let given = own.iter().map(|one| u64::from(*one)).sum::<u64>();
    let mut claims: BinaryHeap<Claim> = weights
        .iter()
        .enumerate()
        .filter(|(_, weight)| **weight > 0)
        .map(|(index, weight)| Claim {
            weight: *weight,
            divisor: 2 * u128::from(own[index]) + 1,
            index,
        })
        .collect();
    for _ in given..u64::from(total) {
        let Some(mut claim) = claims.pop() else { break };
        own[claim.index] += 1;
        claim.divisor += 2;
        claims.push(claim);
    }
    own
}

/// What everybody has for certain: all that the method gives at a divisor by which it gives `total` at
/// most. No more than one for each of them is left after that.
fn first(total: u32, weights: &[u128]) -> Vec<u32> {
    let claiming = weights.iter().filter(|one| **one > 0).count() as u128;
    let sum: u128 = weights.iter().sum();
    let Some(twice) = (2 * u128::from(total)).checked_sub(claiming) else {
        return vec![0; weights.len()];
    };
    let share = |weight: &u128| (weight * twice + sum) / (2 * sum);
    let shares = weights.iter().map(share);
    shares
        .map(|share| u32::try_from(share).unwrap_or(total))
        .collect()
}

/// Who gets the next one, the greatest first.
#[derive(PartialEq, Eq)]
struct Claim {
    weight: u128,
    divisor: u128,
    index: usize,
}

impl Ord for Claim {
    fn cmp(&self, other: &Self) -> Ordering {
        // Neither side comes near 2^128: weights have 64 bits, divisors 34.
        let quotients = (self.weight * other.divisor).cmp(&(other.weight * self.divisor));
        quotients.then_with(|| other.index.cmp(&self.index))
    }
}

impl PartialOrd for Claim {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::apportion;

    /// The method as it is told: one after the other.
    fn one_by_one(total: u32, weights: &[u64]) -> Vec<u32> {
        let mut own = vec![0u32; weights.len()];
        for _ in 0..total {
            let better = |best: usize, next: usize| {
                let of =
                    |index: usize| (u128::from(weights[index]), 2 * u128::from(own[index]) + 1);
                let ((one, by), (other, other_by)) = (of(best), of(next));
                if other * by > one * other_by {
                    next
                } else {
                    best
                }
            };
            let next = (0..weights.len()).reduce(better).expect("somebody");
            own[next] += 1;
        }
        own
    }

    #[test]
    fn known_divisions() {
        for (total, weights, wanted) in [
            (10, vec![1, 1, 1], vec![4, 3, 3]),
            (10, vec![3, 2], vec![6, 4]),
            (5, vec![2, 1, 1], vec![3, 1, 1]),
            (1, vec![1, 1], vec![1, 0]),
            (7, vec![0, 0], vec![4, 3]),
            (7, vec![0, 5], vec![0, 7]),
            (0, vec![1, 2], vec![0, 0]),
            (3, vec![], vec![]),
            // An example of Balinski and Young, in which the largest remainders give 9, 7, 5, 4, 1.
            (26, vec![9061, 7179, 5259, 3319, 1182], vec![9, 8, 5, 3, 1]),
        ] {
            assert_eq!(apportion(total, &weights), wanted, "{total} by {weights:?}");
        }
        let many = apportion(2_000_000_000, &[1, 2, u64::MAX]);
        assert_eq!(
            many.iter().map(|one| u64::from(*one)).sum::<u64>(),
            2_000_000_000
        );
    }

    proptest! {
        #[test]
        fn all_is_divided_as_the_method_says(
            total in 0..300u32,
            weights in proptest::collection::vec(0..50u64, 1..12),
        ) {
            let found = apportion(total, &weights);
            prop_assert_eq!(found.iter().sum::<u32>(), total);
            if weights.iter().any(|one| *one > 0) {
                prop_assert_eq!(found, one_by_one(total, &weights));
            }
        }

        #[test]
        fn nobody_loses_when_there_is_more(
            total in 0..100_000u32,
            weights in proptest::collection::vec(any::<u64>(), 1..20),
        ) {
            let (before, after) = (apportion(total, &weights), apportion(total + 1, &weights));
            prop_assert!(before.iter().zip(&after).all(|(before, after)| before <= after));
        }

        #[test]
        fn one_that_leaves_only_adds_to_the_others(
            total in 0..10_000u32,
            weights in proptest::collection::vec(1..1_000u64, 2..20),
            leaving in any::<proptest::sample::Index>(),
        ) {
            let mut before = apportion(total, &weights);
            let mut rest = weights.clone();
            let leaving = leaving.index(rest.len());
            rest.remove(leaving);
            before.remove(leaving);
            let after = apportion(total, &rest);
            prop_assert!(before.iter().zip(&after).all(|(before, after)| before <= after));
        }
    }
}
