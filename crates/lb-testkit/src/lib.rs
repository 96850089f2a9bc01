//! Scripted backends and raw clients for end-to-end tests.
