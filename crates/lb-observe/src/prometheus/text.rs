//! The text exposition format, version 0.0.4.

use std::fmt::Write;

use metrics_exporter_prometheus::formatting::{write_help_line, write_type_line};

use crate::histogram::Exposed;

/// Text being written, a family at a time.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
}

/// The type of a family.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The value of a sample.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    Count(u64),
    Float(f64),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl Text {
    /// Begins anew in `room`, with space for so many bytes, so that a long text is not moved while it grows.
    pub(super) fn with_room(mut room: String, bytes: usize) -> Self {
        room.clear();
        room.reserve(bytes);
        Self { out: room }
    }

    /// Starts a family; its samples follow until the next starts.
    pub(super) fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Family<'a> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        write_help_line(&mut self.out, name, None, None, help);
        write_type_line(&mut self.out, name, None, None, kind);
        Family { out: &mut self.out, name }
    }

    /// Appends families written elsewhere.
    pub(super) fn append(&mut self, families: &str) {
        self.out.push_str(families);
    }

    pub(super) fn finish(self) -> String {
        self.out
    }
}

/// The samples of one family.
pub(super) struct Family<'a> {
    out: &'a mut String,
    name: &'a str,
}

impl Family<'_> {
    /// One sample.
    pub(super) fn sample(&mut self, labels: &Labels, value: impl Into<Value>) {
        self.line("", labels, None, value);
    }

    /// One sample with a label more, whose value needs no escaping.
    pub(super) fn sample_with(
        &mut self,
        labels: &Labels,
        key: &str,
        label: &'static str,
        value: impl Into<Value>,
    ) {
        self.line("", labels, Some((key, label)), value);
    }

    /// All samples of one histogram.
    pub(super) fn histogram(&mut self, labels: &Labels, exposed: &Exposed) {
        for (le, count) in super::BOUNDS.iter().zip(exposed.cumulative()) {
            self.line("_bucket", labels, Some(("le", le)), count);
        }
        let count = exposed.count();
        self.line("_bucket", labels, Some(("le", "+Inf")), count);
        self.line("_sum", labels, None, exposed.sum().as_secs_f64());
        self.line("_count", labels, None, count);
    }

    fn line(&mut self, suffix: &str, labels: &Labels, extra: Option<(&str, &str)>, value: impl Into<Value>) {
        let out = &mut *self.out;
        out.push_str(self.name);
        out.push_str(suffix);
        if !labels.0.is_empty() || extra.is_some() {
            out.push('{');
            out.push_str(&labels.0);
            if let Some((key, label)) = extra {
                if !labels.0.is_empty() {
                    out.push(',');
                }
                for part in [key, "=\"", label, "\""] {
                    out.push_str(part);
                }
            }
            out.push('}');
        }
        out.push(' ');
        match value.into() {
            Value::Count(count) => out.push_str(itoa::Buffer::new().format(count)),
            Value::Float(value) => {
                let _never_fails = write!(out, "{value}");
            }
        }
        out.push('\n');
    }
}

/// Labels as they stand between the braces, escaped once and used for many samples.
#[derive(Debug, Clone, Default)]
pub(super) struct Labels(String);

impl Labels {
    pub(super) fn new(pairs: &[(&str, &str)]) -> Self {
        let mut text = String::new();
        for (key, value) in pairs {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(key);
            text.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    other => text.push(other),
                }
            }
            text.push('"');
        }
        Self(text)
    }
}
