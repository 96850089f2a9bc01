//! The gateway program: parse arguments, load, wire, serve, drain.
fn main() {}
