//! The text exposition format, version 0.0.4.

use std::fmt::{Display, Write};

use metrics_exporter_prometheus::formatting::{write_help_line, write_type_line};

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

impl Text {
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
    pub(super) fn sample(&mut self, labels: &Labels, value: impl Display) {
        self.line("", labels, "", value);
    }

    /// One sample with a label more.
    pub(super) fn sample_with(&mut self, labels: &Labels, key: &str, label: &str, value: impl Display) {
        let extra = Labels::new(&[(key, label)]).0;
        self.line("", labels, &extra, value);
    }

    /// All samples of one histogram.
    pub(super) fn histogram(&mut self, labels: &Labels, summary: &crate::histogram::Summary) {
        for (le, count) in super::BOUNDS.iter().zip(summary.cumulative()) {
            self.line("_bucket", labels, le, count);
        }
        self.line("_bucket", labels, "le=\"+Inf\"", summary.count());
        self.line("_sum", labels, "", summary.sum().as_secs_f64());
        self.line("_count", labels, "", summary.count());
    }

    fn line(&mut self, suffix: &str, labels: &Labels, extra: &str, value: impl Display) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        if !(labels.0.is_empty() && extra.is_empty()) {
            self.out.push('{');
            self.out.push_str(&labels.0);
            if !(labels.0.is_empty() || extra.is_empty()) {
                self.out.push(',');
            }
            self.out.push_str(extra);
            self.out.push('}');
        }
        let _never_fails = writeln!(self.out, " {value}");
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
