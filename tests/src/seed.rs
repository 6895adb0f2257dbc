//! Chance that can be repeated: one number, printed when a test begins.

/// A stream of numbers (SplitMix64).
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    /// The seed of this run: `QUORATE_TEST_SEED`, or a fresh one; says which.
    #[must_use]
    pub fn of_this_run(test: &str) -> Self {
        let given = std::env::var("QUORATE_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from_le_bytes(crate::client::random()));
        eprintln!("{test}: REPRODUCE WITH: QUORATE_TEST_SEED={seed}");
        Self(seed)
    }

    /// A stream that is always the same.
    #[must_use]
    pub const fn fixed(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `limit`.
    ///
    /// # Panics
    /// `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }
}
