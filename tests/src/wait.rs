//! Waiting by looking, never by sleeping and hoping.

use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// Looks until `look` finds something, or nothing within `limit`.
pub async fn until_or<T>(limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        let found = look().await;
        if found.is_some() || begin.elapsed() >= limit {
            return found;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Looks until `look` finds something.
///
/// # Panics
/// It did not within `limit`; the text says what was waited for.
pub async fn until<T>(what: &str, limit: Duration, look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = until_or(limit, look).await;
    found.unwrap_or_else(|| panic!("waited {limit:?} in vain: {what}"))
}

/// Looks until `look` says yes.
///
/// # Panics
/// It did not within `limit`.
pub async fn until_true(what: &str, limit: Duration, mut look: impl FnMut() -> bool) {
    until(what, limit, async || look().then_some(())).await;
}
