//! Pages, styles and scripts, built into the program.

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response, StatusCode};

use crate::response::{self, CSS, HTML, SCRIPT};

/// A file that never changes while the program runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asset {
    content_type: &'static str,
    body: &'static str,
}

pub(crate) const BASE_STYLE: Asset = Asset { content_type: CSS, body: include_str!("../web/base.css") };
pub(crate) const DEMO: Asset = Asset { content_type: HTML, body: include_str!("../web/demo.html") };
pub(crate) const DEMO_STYLE: Asset = Asset { content_type: CSS, body: include_str!("../web/demo.css") };
pub(crate) const DEMO_SCRIPT: Asset = Asset { content_type: SCRIPT, body: include_str!("../web/demo.js") };
pub(crate) const DASHBOARD: Asset = Asset { content_type: HTML, body: include_str!("../web/dashboard.html") };
pub(crate) const DASHBOARD_STYLE: Asset =
    Asset { content_type: CSS, body: include_str!("../web/dashboard.css") };
pub(crate) const DASHBOARD_SCRIPT: Asset =
    Asset { content_type: SCRIPT, body: include_str!("../web/dashboard.js") };

impl Asset {
    /// The file. Asked for anew each time, so that a page never runs with another version's script.
    pub(crate) fn respond(self) -> Response<Bytes> {
        let mut response = response::new(StatusCode::OK, self.content_type, self.body);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}
