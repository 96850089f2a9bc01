//! The two clocks at one moment: what the machines count by, and what people and files read.

use std::time::{Instant, SystemTime};

/// One moment by both clocks.
///
/// ```
/// let clock = lb_health::Clock::read();
/// assert_eq!(clock.wall_of(clock.now), clock.wall);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// By the clock that never goes back.
    pub now: Instant,
    /// By the clock on the wall.
    pub wall: SystemTime,
}

impl Clock {
    /// This moment.
    pub fn read() -> Self {
        Self { now: Instant::now(), wall: SystemTime::now() }
    }

    /// What the wall shows at `instant`.
    pub fn wall_of(&self, instant: Instant) -> SystemTime {
        let moment = match instant.checked_duration_since(self.now) {
            Some(ahead) => self.wall.checked_add(ahead),
            None => self.wall.checked_sub(self.now.saturating_duration_since(instant)),
        };
        moment.unwrap_or(self.wall)
    }

    /// The instant at which the wall shows `moment`; now, where that lies beyond the clock.
    pub fn instant_of(&self, moment: SystemTime) -> Instant {
        let instant = match moment.duration_since(self.wall) {
            Ok(ahead) => self.now.checked_add(ahead),
            Err(behind) => self.now.checked_sub(behind.duration()),
        };
        instant.unwrap_or(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn both_ways_lead_back() {
        let clock = Clock::read();
        for instant in [clock.now, clock.now + Duration::from_secs(9), clock.now - Duration::from_millis(5)] {
            assert_eq!(clock.instant_of(clock.wall_of(instant)), instant);
        }
    }
}
