//! The codec from outside: exact bytes in, exact result out, however the bytes are cut into packets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod bodies;
mod corpus;
mod drafts;
mod heads_written;
mod properties;
mod request_fields;
mod requests;
mod responses;
mod support;
