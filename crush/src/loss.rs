//! How much has to be lost before data are.

use alloc::vec::Vec;

/// The fewest failure domains without which fewer than `needed` shards of a stripe are left, if each has so many of them:
/// those that have the most go first. 0 if too few are there anyway.
pub fn fewest_domains(shards: impl IntoIterator<Item = usize>, needed: usize) -> usize {
    let mut sizes: Vec<usize> = shards.into_iter().collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let mut left: usize = sizes.iter().sum();
    let mut lost = 0;
    for size in sizes {
        if left < needed {
            break;
        }
        left -= size;
        lost += 1;
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_go_first() {
        assert_eq!(fewest_domains([2; 15], 10), 11);
        assert_eq!(fewest_domains([5, 1, 7], 10), 1);
        assert_eq!(fewest_domains([3; 4], 10), 1);
        assert_eq!(fewest_domains([1; 9], 10), 0);
        assert_eq!(fewest_domains([1; 30], 1), 30);
        assert_eq!(fewest_domains([], 1), 0);
    }

    /// Against every subset of a few domains.
    #[test]
    fn no_smaller_set_would_do() {
        for n in 0..3usize.pow(6) {
            let sizes: Vec<usize> = (0..6).map(|digit| n / 3usize.pow(digit) % 3).collect();
            let all: usize = sizes.iter().sum();
            let left = |set: u32| -> usize {
                (0..6).filter(|at| set & (1 << at) == 0).map(|at| sizes[at as usize]).sum()
            };
            let least = (0..64u32).filter(|set| left(*set) < 4).map(u32::count_ones).min().unwrap();
            assert_eq!(fewest_domains(sizes.iter().copied(), 4), least as usize, "{sizes:?} of {all}");
        }
    }
}
