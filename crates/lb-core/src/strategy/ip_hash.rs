//! IP hash: a client keeps its backend while that backend lives, and has it again when it returns.
//!
//! Rendezvous hashing of the client's address (IPv6 by its /64): see [`rendezvous`] for the table and its laws.
//!
//! Right for state kept in a backend's memory without a cookie. It fails behind a proxy or a carrier's NAT that hides many clients
//! behind one address, all of whom then share a backend; `bound` caps that, a cookie avoids it.

use crate::strategy::StrategyInfo;
use crate::strategy::options::KEY;
use crate::strategy::rendezvous;
use crate::strategy::slots::{BOUND, Slots};

pub(super) const INFO: StrategyInfo = StrategyInfo {
    name: "ip_hash",
    aliases: &["hash"],
    summary: "a client keeps its backend; when one fails only its own clients move, and they return",
    options: &[KEY, BOUND],
    weighted: true,
    keyed: true,
    build: |build| Box::new(Slots::new(rendezvous::owners(build.set), build)),
};
