//! What a gateway tells of itself over HTTP: status endpoints, demo page, dashboard.
//!
//! Everything here is a function from a request's head to an answer: [`StatusPages::respond`] is called by whoever
//! holds the connection, be it the data path for a listener with `status_endpoints`, or the admin listener. What
//! pages show is drawn by a [`StatusSource`] and read from [`lb_observe`]'s figures; nothing is remembered between
//! requests, save what those who watch are shown of the past: see [`live`].
//!
//! | path | shows |
//! |---|---|
//! | `/health` | that the process lives: always 200; the `/ping` page for browsers |
//! | `/ready` | whether to send it traffic: 503 while draining, or with no backend eligible |
//! | `/ping` | strategy and backends; a page for browsers |
//! | `/metrics` | Prometheus text; JSON for `?format=json` |
//! | `/proxy-status` | rules, features, every backend as it stands |
//! | `/strategies` | which there are and where they are used |
//! | `/info` | service, version, uptime |
//! | `/` | the demo or the dashboard, where asked for |
//!
//! Pages need nothing from outside, run no inline script and no inline style, and work in light and dark.

mod assets;
pub mod live;
mod negotiate;
mod page;
mod pages;
mod response;
mod spare;
mod time;
mod title;
mod view;

pub use lb_observe::live::Circuit;
pub use pages::{StatusPages, is_status_path};
pub use view::{
    BackendState, BackendView, ConfigurationView, EditView, Features, GatewayView, ListenerView, ReloadView,
    RollbackView, RuleView, StatusSource, StrategyView, Tally, UpstreamView,
};

#[cfg(test)]
mod tests;
