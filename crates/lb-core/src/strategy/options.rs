//! Options of strategies: what a row takes, and what a configuration wrote, checked once and complete with defaults. A
//! strategy's build never meets an invalid one.

use std::time::Duration;

use crate::config::{OptionValue, StrategyConfig};
use crate::key::KeySource;
use crate::strategy::{StrategyError, StrategyInfo};

/// An option a strategy takes.
#[derive(Debug)]
pub struct OptionInfo {
    /// Its key, beside `strategy` in the configuration.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// What it accepts, and what holds where it is not written.
    pub kind: OptionKind,
}

/// What an option accepts, and its default.
#[derive(Debug, Clone, Copy)]
pub enum OptionKind {
    /// One of a few words; the first is the default.
    Word(&'static [&'static str]),
    /// A whole number.
    Integer {
        /// Least.
        min: i64,
        /// Greatest.
        max: i64,
        /// Where not written.
        default: i64,
    },
    /// Any number.
    Float {
        /// Least.
        min: f64,
        /// Greatest.
        max: f64,
        /// Where not written.
        default: f64,
    },
    /// A length of time: a number of seconds, or words as `"250ms"`, `"10s"`, `"1m"`.
    Duration {
        /// Least.
        min: Duration,
        /// Greatest.
        max: Duration,
        /// Where not written.
        default: Duration,
    },
    /// Where the request's key comes from; by default the client's address.
    Key,
}

/// The key option, which every keyed strategy takes.
pub(super) const KEY: OptionInfo =
    OptionInfo { name: "key", summary: "what of the request is hashed", kind: OptionKind::Key };

/// A strategy's options: every one of its row, valid.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    values: Vec<(&'static str, OptionValue)>,
    key: KeySource,
}

impl Options {
    /// Checks what was written against the row and fills in the defaults.
    ///
    /// # Errors
    /// An option the row does not have, or a value it does not take.
    pub fn parse(info: &StrategyInfo, config: &StrategyConfig) -> Result<Self, StrategyError> {
        let mut options = Self::default();
        for (name, value) in &config.options {
            let row = info.options.iter().find(|row| row.name == name.trim()).ok_or_else(|| {
                StrategyError::UnknownOption {
                    strategy: info.name,
                    option: name.clone(),
                    accepted: accepted(info),
                }
            })?;
            if options.values.iter().any(|(name, _)| *name == row.name) {
                return Err(StrategyError::RepeatedOption { strategy: info.name, option: row.name });
            }
            let value = row.kind.check(value).ok_or_else(|| StrategyError::InvalidOption {
                strategy: info.name,
                option: row.name,
                written: value.to_string(),
                accepted: row.kind.accepts(),
            })?;
            if let (OptionKind::Key, OptionValue::String(written)) = (row.kind, &value) {
                options.key = written.parse().unwrap_or_default();
            }
            options.values.push((row.name, value));
        }
        for row in info.options {
            if !options.values.iter().any(|(name, _)| *name == row.name) {
                options.values.push((row.name, row.kind.default_value()));
            }
        }
        Ok(options)
    }

    /// A word's value; empty where the row has no such word.
    pub fn word(&self, name: &str) -> &str {
        match self.value(name) {
            Some(OptionValue::String(word)) => word,
            _ => "",
        }
    }

    /// A whole number's value; 0 where the row has no such number.
    pub fn integer(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(OptionValue::Integer(number)) => *number,
            _ => 0,
        }
    }

    /// A number's value; 0 where the row has no such number.
    pub fn float(&self, name: &str) -> f64 {
        match self.value(name) {
            Some(OptionValue::Float(number)) => *number,
            _ => 0.0,
        }
    }

    /// A length of time's value; zero where the row has no such option.
    pub fn duration(&self, name: &str) -> Duration {
        self.value(name).and_then(duration).unwrap_or_default()
    }

    /// Where the request's key comes from.
    pub fn key(&self) -> &KeySource {
        &self.key
    }

    fn value(&self, wanted: &str) -> Option<&OptionValue> {
        self.values.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value)
    }
}

impl OptionKind {
    /// What it accepts, in words.
    pub fn accepts(self) -> String {
        match self {
            Self::Word(words) => {
                words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
            }
            Self::Integer { min, max, .. } => format!("a whole number from {min} to {max}"),
            Self::Float { min, max, .. } => format!("a number from {min} to {max}"),
            Self::Duration { min, max, .. } => {
                format!("a duration from {min:?} to {max:?}, as \"250ms\" or \"10s\"")
            }
            Self::Key => KeySource::ACCEPTED.to_owned(),
        }
    }

    /// Its value where nothing is written.
    pub fn default_value(self) -> OptionValue {
        match self {
            Self::Word(words) => words.first().copied().unwrap_or_default().into(),
            Self::Integer { default, .. } => default.into(),
            Self::Float { default, .. } => default.into(),
            Self::Duration { default, .. } => default.as_secs_f64().into(),
            Self::Key => KeySource::default().to_string().as_str().into(),
        }
    }

    /// The value in this kind's own type, where it takes it.
    fn check(self, written: &OptionValue) -> Option<OptionValue> {
        match (self, written) {
            (Self::Word(words), OptionValue::String(word)) => words
                .iter()
                .find(|known| known.eq_ignore_ascii_case(word.trim()))
                .map(|known| (*known).into()),
            (Self::Integer { min, max, .. }, OptionValue::Integer(number)) => {
                (min..=max).contains(number).then(|| (*number).into())
            }
            (Self::Float { min, max, .. }, OptionValue::Float(number)) => {
                (min..=max).contains(number).then(|| (*number).into())
            }
            #[expect(clippy::cast_precision_loss, reason = "options' bounds are far below 2^53")]
            (Self::Float { .. }, OptionValue::Integer(number)) => {
                self.check(&OptionValue::Float(*number as f64))
            }
            (Self::Duration { min, max, .. }, written) => duration(written)
                .is_some_and(|written| (min..=max).contains(&written))
                .then(|| written.clone()),
            (Self::Key, OptionValue::String(source)) => {
                source.parse::<KeySource>().is_ok().then(|| written.clone())
            }
            _ => None,
        }
    }
}

/// A bare number is seconds.
fn duration(written: &OptionValue) -> Option<Duration> {
    match written {
        OptionValue::Integer(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
        OptionValue::Float(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
        OptionValue::String(words) => {
            let words = words.trim();
            let unit = words.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(words.len());
            let (number, unit) = words.split_at_checked(unit)?;
            let factor = match unit {
                "us" => 1e-6,
                "ms" => 1e-3,
                "s" | "" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
            Duration::try_from_secs_f64(number.trim().parse::<f64>().ok()? * factor).ok()
        }
        OptionValue::Bool(_) => None,
    }
}

fn accepted(info: &StrategyInfo) -> String {
    if info.options.is_empty() {
        return "it takes none".to_owned();
    }
    let names: Vec<_> = info.options.iter().map(|row| format!("`{}`", row.name)).collect();
    format!("it takes {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_words() {
        let ms = |written: OptionValue| duration(&written).map(|duration| duration.as_millis());
        assert_eq!(ms(5.into()), Some(5_000));
        assert_eq!(ms(0.25.into()), Some(250));
        assert_eq!(ms("250ms".into()), Some(250));
        assert_eq!(ms(" 1.5 s".into()), Some(1_500));
        assert_eq!(ms("1m".into()), Some(60_000));
        for bad in ["", "s", "ten seconds", "-1s", "5 days", "inf"] {
            assert_eq!(ms(bad.into()), None, "{bad}");
        }
        assert_eq!(ms((-1).into()), None);
        assert_eq!(ms(f64::NAN.into()), None);
    }
}
