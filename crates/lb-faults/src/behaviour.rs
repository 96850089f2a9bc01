//! How a backend behaves at present, in a form that can be sent to it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a backend does with a request that it has received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers it.
    Well,
    /// Answers it after this much more time.
    Slow(Duration),
    /// Answers with this status and nothing else.
    Status(u16),
    /// Resets the connection without a word.
    Reset,
    /// Sends half of the answer's head and resets the connection.
    ResetMidHead,
    /// Sends the head and half of the body and resets the connection.
    ResetMidBody,
    /// Says nothing, until the other side closes.
    Silent,
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Behaviour::Well => f.write_str("well"),
            Behaviour::Slow(time) => write!(f, "slow:{}", time.as_millis()),
            Behaviour::Status(status) => write!(f, "status:{status}"),
            Behaviour::Reset => f.write_str("reset"),
            Behaviour::ResetMidHead => f.write_str("reset-mid-head"),
            Behaviour::ResetMidBody => f.write_str("reset-mid-body"),
            Behaviour::Silent => f.write_str("silent"),
        }
    }
}

impl FromStr for Behaviour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("no behaviour: {text}");
        Ok(match text.split_once(':').unwrap_or((text, "")) {
            ("well", "") => Behaviour::Well,
            ("slow", millis) => {
                Behaviour::Slow(Duration::from_millis(millis.parse().map_err(|_| unknown())?))
            }
            ("status", status) => Behaviour::Status(status.parse().map_err(|_| unknown())?),
            ("reset", "") => Behaviour::Reset,
            ("reset-mid-head", "") => Behaviour::ResetMidHead,
            ("reset-mid-body", "") => Behaviour::ResetMidBody,
            ("silent", "") => Behaviour::Silent,
            _ => return Err(unknown()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_behaviour_is_read_as_it_was_written() {
        for behaviour in [
            Behaviour::Well,
            Behaviour::Slow(Duration::from_millis(250)),
            Behaviour::Status(503),
            Behaviour::Reset,
            Behaviour::ResetMidHead,
            Behaviour::ResetMidBody,
            Behaviour::Silent,
        ] {
            assert_eq!(behaviour.to_string().parse(), Ok(behaviour));
        }
        assert!("slow:soon".parse::<Behaviour>().is_err());
    }
}
