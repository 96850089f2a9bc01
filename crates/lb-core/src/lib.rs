//! Load-balancing strategies, backend sets and in-flight leases; no I/O, no clock.

/// What was asked of a strategy: its name and options, as a configuration carries them.
#[derive(Debug, Clone, PartialEq)]
pub struct StrategyConfig {
    /// A row's name in `strategy::ALL`, or one of its aliases.
    pub name: String,
    /// Options beside the name, as written (`order = "block"`); the strategy's row says which it takes.
    pub options: Vec<(String, OptionValue)>,
}

impl Default for StrategyConfig {
    fn default() -> Self {
        Self { name: "round_robin".into(), options: Vec::new() }
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
