//! Requests and bytes, told apart by the class of the answer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::StatusCode;

/// The class of an answer, as the `code` label of the metrics has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 1xx as the last answer: a connection that was upgraded.
    Informational,
    /// 2xx.
    Success,
    /// 3xx.
    Redirection,
    /// 4xx.
    ClientError,
    /// 5xx, and any number that no RFC gives a class.
    ServerError,
    /// 499: the client left before it was answered.
    ClientLeft,
}

impl Class {
    /// Every class, by rising status.
    pub const ALL: [Self; 6] = [
        Self::Informational,
        Self::Success,
        Self::Redirection,
        Self::ClientError,
        Self::ServerError,
        Self::ClientLeft,
    ];

    /// The class of a status.
    #[inline]
    pub fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            100..=199 => Self::Informational,
            200..=299 => Self::Success,
            300..=399 => Self::Redirection,
            499 => Self::ClientLeft,
            400..=498 => Self::ClientError,
            _ => Self::ServerError,
        }
    }

    /// The value of the `code` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::ClientLeft => "499",
        }
    }
}

/// One worker's counters of requests and bytes.
#[derive(Debug, Default)]
pub(super) struct RequestCounters {
    by_class: [AtomicU64; Class::ALL.len()],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl RequestCounters {
    #[inline]
    pub(super) fn count(&self, class: Class, bytes_in: u64, bytes_out: u64) {
        if let Some(counter) = self.by_class.get(class as usize) {
            counter.fetch_add(1, Relaxed);
        }
        if bytes_in > 0 {
            self.bytes_in.fetch_add(bytes_in, Relaxed);
        }
        self.bytes_out.fetch_add(bytes_out, Relaxed);
    }

    pub(super) fn add_to(&self, totals: &mut RequestTotals) {
        for (total, counter) in totals.by_class.iter_mut().zip(&self.by_class) {
            *total += counter.load(Relaxed);
        }
        totals.bytes_in += self.bytes_in.load(Relaxed);
        totals.bytes_out += self.bytes_out.load(Relaxed);
    }
}

/// Requests and bytes of all workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestTotals {
    by_class: [u64; Class::ALL.len()],
    /// Bytes of request bodies.
    pub bytes_in: u64,
    /// Bytes of response bodies.
    pub bytes_out: u64,
}

impl RequestTotals {
    /// Requests of one class.
    pub fn of(&self, class: Class) -> u64 {
        self.by_class.get(class as usize).copied().unwrap_or(0)
    }

    /// Every class with its requests.
    pub fn by_class(&self) -> impl Iterator<Item = (Class, u64)> {
        Class::ALL.into_iter().zip(self.by_class)
    }

    /// Requests of all classes.
    pub fn total(&self) -> u64 {
        self.by_class.iter().sum()
    }

    /// Adds another's requests and bytes.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.by_class.iter_mut().zip(other.by_class) {
            *mine += theirs;
        }
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_of_the_class_of_its_first_digit_save_499() {
        for (status, label) in [
            (101, "1xx"),
            (200, "2xx"),
            (304, "3xx"),
            (404, "4xx"),
            (498, "4xx"),
            (499, "499"),
            (504, "5xx"),
            (999, "5xx"),
        ] {
            assert_eq!(Class::of(StatusCode::from_u16(status).unwrap()).label(), label);
        }
    }

    #[test]
    fn classes_stand_at_their_own_index() {
        for (index, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, index);
        }
    }
}
