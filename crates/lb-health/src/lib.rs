//! Which backends are eligible: thresholds, ejection, breakers, probes.
