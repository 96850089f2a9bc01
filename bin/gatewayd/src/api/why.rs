//! `/api/why/ID`: what was decided of a request that has been, and why.

use http::{Method, StatusCode};
use lb_http::control::ControlRequest;
use lb_observe::decision::Reach;
use serde_json::{Value, json};

use super::{Api, Refused, refused};
use crate::why;

impl Api {
    pub(super) fn why(&self, id: &str, request: &ControlRequest) -> Result<Value, Refused> {
        if request.head.method != Method::GET {
            return Err(refused(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "records are only read",
            ));
        }
        // It names addresses of clients and backends.
        self.authorise(request)?;
        let unreadable = |_| {
            let detail = "a request's id is visible ASCII, percent-encoded where a URL needs it";
            refused(StatusCode::BAD_REQUEST, "bad_request", detail)
        };
        let id = percent_encoding::percent_decode_str(id).decode_utf8().map_err(unreadable)?;
        let mut found = self.decisions.find(&id);
        if found.decisions.is_empty() {
            return Err(refused(StatusCode::NOT_FOUND, "unknown_request", why::unknown(&id, &found.reach)));
        }
        for decision in &mut found.decisions {
            decision.rule_place = decision.rule.as_deref().and_then(|rule| self.live.place_of(rule));
        }
        let text: Vec<String> = found.decisions.iter().map(why::text).collect();
        Ok(json!({
            "request_id": id,
            "exchanges": found.decisions,
            "reach": reach(&found.reach),
            "text": text.join("\n"),
        }))
    }
}

fn reach(reach: &Reach) -> Value {
    let Reach { kept, since, troubled_since, missed } = reach;
    json!({
        "kept": kept,
        "since": since.map(why::rfc3339),
        "troubled_since": troubled_since.map(why::rfc3339),
        "missed": missed,
    })
}
