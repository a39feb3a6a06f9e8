//! A share of a count, with its confidence interval.

/// The quantile of the normal distribution for a two-sided interval of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    pub hits: u32,
    pub of: u32,
}

impl Rate {
    /// `None`: nothing was counted.
    pub fn share(self) -> Option<f64> {
        (self.of > 0).then(|| f64::from(self.hits.min(self.of)) / f64::from(self.of))
    }

    /// The Wilson score interval of 95 % (Wilson 1927), which stays within 0 and 1 and says
    /// something useful of few cases and of rates near 0. `None`: nothing was counted.
    pub fn interval(self) -> Option<(f64, f64)> {
        let (n, p) = (f64::from(self.of), self.share()?);
        let z2n = Z * Z / n;
        let center = (p + z2n / 2.0) / (1.0 + z2n);
        let half = Z / (1.0 + z2n) * (p * (1.0 - p) / n + z2n / (4.0 * n)).sqrt();
        // Rounding must not leave the share itself outside.
        Some(((center - half).clamp(0.0, p), (center + half).clamp(p, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_is_wilsons() {
        // R: prop.test(x, n, correct = FALSE)$conf.int
        for (hits, of, low, high) in [
            (0, 10, 0.0, 0.277_533),
            (1, 10, 0.017_876, 0.404_150),
            (5, 10, 0.236_593, 0.763_407),
            (10, 10, 0.722_467, 1.0),
            (14, 100, 0.085_263, 0.221_372),
        ] {
            let (l, h) = Rate { hits, of }.interval().unwrap();
            assert!((l - low).abs() < 1e-5 && (h - high).abs() < 1e-5, "{hits}/{of}: {l} {h}");
        }
        assert_eq!(Rate::default().interval(), None);
        assert_eq!(Rate::default().share(), None);
        assert_eq!(Rate { hits: 1, of: 4 }.share(), Some(0.25));
    }

    #[test]
    fn interval_holds_the_share_and_narrows_with_the_count() {
        for of in 1..200 {
            for hits in 0..=of {
                let rate = Rate { hits, of };
                let (low, high) = rate.interval().unwrap();
                let share = rate.share().unwrap();
                assert!(0.0 <= low && low <= share && share <= high && high <= 1.0, "{rate:?}");
                let (more_low, more_high) = Rate { hits: hits * 4, of: of * 4 }.interval().unwrap();
                assert!(more_high - more_low < high - low, "{rate:?}");
            }
        }
    }
}
