//! How many calls one principal may make.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

/// Calls per second on average, and in a burst. Far above what an admin panel does; a batch of submissions from one
/// program must fit.
const RATE: NonZeroU32 = NonZeroU32::new(5_000).unwrap();
const BURST: NonZeroU32 = NonZeroU32::new(10_000).unwrap();
/// Principals that are remembered before those that are idle are forgotten.
const REMEMBERED: usize = 10_000;

/// One bucket per principal (generic cell rate algorithm).
pub struct Limiter(DefaultKeyedRateLimiter<String>);

impl Default for Limiter {
    fn default() -> Self {
        Self::new(RATE, BURST)
    }
}

impl Limiter {
    fn new(rate: NonZeroU32, burst: NonZeroU32) -> Self {
        Self(RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst)))
    }

    /// Counts a call of this principal.
    ///
    /// # Errors
    /// When it makes too many: how long to wait.
    pub fn admit(&self, sub: &String) -> Result<(), Duration> {
        if self.0.len() > REMEMBERED {
            self.0.retain_recent();
        }
        self.0.check_key(sub).map_err(|refused| refused.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_limited_and_the_others_are_not() {
        let limiter = Limiter::new(NonZeroU32::MIN, NonZeroU32::new(2).unwrap());
        let (alice, bob) = ("alice".to_owned(), "bob".to_owned());
        assert!(limiter.admit(&alice).is_ok() && limiter.admit(&alice).is_ok());
        let wait = limiter.admit(&alice).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        assert!(limiter.admit(&bob).is_ok());
    }
}
