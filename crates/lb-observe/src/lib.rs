//! The exchange record and its recorders: metrics and access log.
