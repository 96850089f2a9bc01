//! The Date field, formatted once a second rather than once a message.

use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;

/// How long a date is.
pub(crate) const DATE_BYTES: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();

/// A date as it stands in a Date field.
pub type Date = [u8; DATE_BYTES];

/// The last date that was formatted (IMF-fixdate, RFC 9110 section 5.6.7). One a worker.
///
/// ```
/// let mut dates = lb_h1::DateCache::default();
/// assert_eq!(dates.at(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
#[derive(Debug, Clone)]
pub struct DateCache {
    unix_seconds: Option<u64>,
    text: [u8; DATE_BYTES],
}

impl Default for DateCache {
    fn default() -> Self {
        Self { unix_seconds: None, text: *b"Thu, 01 Jan 1970 00:00:00 GMT" }
    }
}

impl DateCache {
    /// The date at that second since 1970, at most the last one of the year 9999.
    #[inline]
    pub fn at(&mut self, unix_seconds: u64) -> &[u8; DATE_BYTES] {
        if self.unix_seconds != Some(unix_seconds) {
            self.format(unix_seconds);
        }
        &self.text
    }

    #[cold]
    fn format(&mut self, unix_seconds: u64) {
        const LAST: u64 = 253_402_300_799;
        let time = UNIX_EPOCH + Duration::from_secs(unix_seconds.min(LAST));
        let text = HttpDate::from(time).to_string();
        if let Ok(text) = text.into_bytes().try_into() {
            self.text = text;
        }
        self.unix_seconds = Some(unix_seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_remembered_for_their_second_and_no_longer() {
        let mut dates = DateCache::default();
        assert_eq!(dates.at(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(dates.at(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(dates.at(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(dates.at(951_782_401), b"Tue, 29 Feb 2000 00:00:01 GMT");
        assert_eq!(dates.at(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
