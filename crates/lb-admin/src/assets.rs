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

/// Pages, by what they are for.
pub(crate) const DEMO: Asset = Asset { content_type: HTML, body: include_str!("../web/demo.html") };
pub(crate) const DASHBOARD: Asset = Asset { content_type: HTML, body: include_str!("../web/dashboard.html") };

/// What pages are made of, by file name.
macro_rules! files {
    ($($name:ident: $($content_type:ident $file:literal),+;)+) => {$(
        pub(crate) const $name: &[(&str, Asset)] = &[$(
            ($file, Asset { content_type: $content_type, body: include_str!(concat!("../web/", $file)) })
        ),+];
    )+};
}

files! {
    COMMON: CSS "base.css";
    OF_DEMO: CSS "demo.css", SCRIPT "demo.js";
    OF_DASHBOARD: CSS "dashboard.css", SCRIPT "dashboard.js", SCRIPT "format.js", SCRIPT "chart.js",
        SCRIPT "upstream.js", SCRIPT "lists.js", SCRIPT "control.js";
}

/// Where the files stand.
const DIRECTORY: &str = "/_gatewayd/";

/// The file at a path, where it is one of these.
pub(crate) fn file(path: &str, of_page: &[(&str, Asset)]) -> Option<Asset> {
    let wanted = path.strip_prefix(DIRECTORY)?;
    COMMON.iter().chain(of_page).find(|(name, _)| *name == wanted).map(|(_, asset)| *asset)
}

impl Asset {
    /// The file. Asked for anew each time, so that a page never runs with another version's script.
    pub(crate) fn respond(self) -> Response<Bytes> {
        let mut response = response::new(StatusCode::OK, self.content_type, self.body);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}
