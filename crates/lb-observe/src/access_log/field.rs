//! The fields a line may have.

use std::str::FromStr;

/// A field of an access log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The rule that took the request.
    Rule,
    /// The backend's URL.
    Backend,
    /// The method.
    Method,
    /// The path as received.
    Path,
    /// The status the client was answered.
    StatusCode,
    /// Milliseconds from the request's first byte to the answer's last.
    DurationMs,
    /// Requests in flight to the backend, this one included.
    BackendConnections,
    /// Whether the backend was held healthy.
    BackendHealthy,
    /// The strategy that chose the backend.
    LoadBalancing,
    /// The value of `X-Request-Id`.
    RequestId,
    /// The client's address.
    ClientIp,
    /// Bytes of the request body.
    BytesIn,
    /// Bytes of the response body.
    BytesOut,
    /// Attempts at backends.
    Attempts,
    /// The Host.
    Host,
    /// The upstream.
    Upstream,
    /// Milliseconds from sending the last attempt to its response head.
    UpstreamMs,
    /// The id of the trace, where there is tracing.
    TraceId,
    /// What was spoken: `http` or `tcp`.
    Protocol,
    /// The listener.
    Listener,
}

/// A field that does not exist, with those that do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown field `{name}`; there are {}", Field::ALL.map(Field::name).join(", "))]
pub struct UnknownField {
    /// What was written.
    pub name: String,
}

impl Field {
    /// Every field.
    pub const ALL: [Self; 20] = [
        Self::Rule,
        Self::Backend,
        Self::Method,
        Self::Path,
        Self::StatusCode,
        Self::DurationMs,
        Self::BackendConnections,
        Self::BackendHealthy,
        Self::LoadBalancing,
        Self::RequestId,
        Self::ClientIp,
        Self::BytesIn,
        Self::BytesOut,
        Self::Attempts,
        Self::Host,
        Self::Upstream,
        Self::UpstreamMs,
        Self::TraceId,
        Self::Protocol,
        Self::Listener,
    ];

    /// What a line has where nothing else is asked for.
    pub const DEFAULT: [Self; 14] = [
        Self::Rule,
        Self::Backend,
        Self::Method,
        Self::Path,
        Self::StatusCode,
        Self::DurationMs,
        Self::BackendConnections,
        Self::BackendHealthy,
        Self::LoadBalancing,
        Self::RequestId,
        Self::ClientIp,
        Self::BytesIn,
        Self::BytesOut,
        Self::Attempts,
    ];

    /// Its key in a line and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Backend => "backend",
            Self::Method => "method",
            Self::Path => "path",
            Self::StatusCode => "status_code",
            Self::DurationMs => "duration_ms",
            Self::BackendConnections => "backend_connections",
            Self::BackendHealthy => "backend_healthy",
            Self::LoadBalancing => "load_balancing",
            Self::RequestId => "request_id",
            Self::ClientIp => "client_ip",
            Self::BytesIn => "bytes_in",
            Self::BytesOut => "bytes_out",
            Self::Attempts => "attempts",
            Self::Host => "host",
            Self::Upstream => "upstream",
            Self::UpstreamMs => "upstream_ms",
            Self::TraceId => "trace_id",
            Self::Protocol => "protocol",
            Self::Listener => "listener",
        }
    }
}

impl FromStr for Field {
    type Err = UnknownField;

    /// Reads a field's name, or the name Servex has for it.
    fn from_str(name: &str) -> Result<Self, UnknownField> {
        let own = match name {
            "ip" => "client_ip",
            "url" => "path",
            "status" => "status_code",
            "duration" => "duration_ms",
            own => own,
        };
        let known = Self::ALL.into_iter().find(|field| field.name() == own);
        known.ok_or_else(|| UnknownField { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_read_from_its_own_name() {
        for field in Field::ALL {
            assert_eq!(field.name().parse(), Ok(field));
        }
    }

    #[test]
    fn servex_names_are_understood() {
        for (theirs, ours) in [("ip", Field::ClientIp), ("url", Field::Path), ("status", Field::StatusCode)] {
            assert_eq!(theirs.parse(), Ok(ours));
        }
    }

    #[test]
    fn an_unknown_name_is_met_with_the_known_ones() {
        let error = "referer".parse::<Field>().unwrap_err().to_string();
        assert!(error.starts_with("unknown field `referer`; there are rule, backend, method,"), "{error}");
    }
}
