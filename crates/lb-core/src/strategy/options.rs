//! Options of strategies: what a row takes, and what a configuration wrote, checked once and complete with defaults. A
//! strategy's build never meets an invalid one.

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
            Self::Key => KeySource::ACCEPTED.to_owned(),
        }
    }

    /// Its value where nothing is written.
    pub fn default_value(self) -> OptionValue {
        match self {
            Self::Word(words) => words.first().copied().unwrap_or_default().into(),
            Self::Integer { default, .. } => default.into(),
            Self::Float { default, .. } => default.into(),
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
            (Self::Key, OptionValue::String(source)) => {
                source.parse::<KeySource>().is_ok().then(|| written.clone())
            }
            _ => None,
        }
    }
}

fn accepted(info: &StrategyInfo) -> String {
    if info.options.is_empty() {
        return "it takes none".to_owned();
    }
    let names: Vec<_> = info.options.iter().map(|row| format!("`{}`", row.name)).collect();
    format!("it takes {}", names.join(", "))
}
