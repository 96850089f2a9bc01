//! The pages, one file each; each key is that of the gateways whose users look for it.

pub(crate) mod health;
pub(crate) mod info;
pub(crate) mod metrics;
pub(crate) mod ping;
pub(crate) mod proxy_status;
pub(crate) mod strategies;
