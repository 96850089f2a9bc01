//! What was asked of a strategy, as a configuration carries it: checked by `strategy::validate`, lowered by the balancer.

/// What was asked of a strategy: its name and options, as a configuration carries them.
///
/// ```
/// use lb_core::{OptionValue, StrategyConfig, strategy};
/// let block = StrategyConfig {
///     name: "WRR".into(),
///     options: vec![("order".into(), OptionValue::String("block".into()))],
/// };
/// assert_eq!(strategy::validate(&block)?.name, "weighted_round_robin");
/// # Ok::<(), lb_core::StrategyError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct StrategyConfig {
    /// A row's name in `strategy::ALL`, or one of its aliases.
    pub name: String,
    /// Options beside the name, as written (`order = "block"`); the strategy's row says which it takes.
    pub options: Vec<(String, OptionValue)>,
}

impl StrategyConfig {
    /// A strategy by name, every option at its default.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), options: Vec::new() }
    }

    /// The same with one more option written.
    #[must_use]
    pub fn with(mut self, option: impl Into<String>, value: impl Into<OptionValue>) -> Self {
        self.options.push((option.into(), value.into()));
        self
    }
}

impl Default for StrategyConfig {
    fn default() -> Self {
        Self::named("round_robin")
    }
}

/// The value of a strategy's option.
#[derive(Debug, Clone, PartialEq)]
pub enum OptionValue {
    /// A whole number.
    Integer(i64),
    /// A fraction.
    Float(f64),
    /// Words.
    String(String),
    /// A switch.
    Bool(bool),
}

impl std::fmt::Display for OptionValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::String(value) => write!(f, "\"{value}\""),
            Self::Bool(value) => write!(f, "{value}"),
        }
    }
}

impl From<i64> for OptionValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for OptionValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for OptionValue {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<bool> for OptionValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
