//! Changes of the configuration: backends that are added, removed, weighed and drained; rules that lead elsewhere or are split.
//!
//! Each may end by itself (`expires`), be kept across a restart (`persist`), and be made only over the version that whoever asks has
//! seen (`version`, or else 409 with the one in force). Each is a line in the log: who, what, how it stood and how it stands.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use lb_core::Weight;
use lb_http::BackendChange;
use lb_http::control::ControlRequest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Api, Refused, answer, refused};
use crate::edits::{Edit, Lasts, Refusal, Split, Terms, What};
use crate::reload::Made;

/// What may stand in any change.
#[derive(Debug, Default, Deserialize)]
struct Beside {
    /// `"10m"`, or seconds.
    expires: Option<Lasts>,
    #[serde(default)]
    persist: bool,
    version: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedBackend {
    backend: String,
    #[serde(default = "one")]
    weight: f64,
    #[serde(default)]
    backup: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedChange {
    /// Its URL as configured.
    backend: String,
    /// Where several have one of this URL: only this one's.
    upstream: Option<String>,
    /// For `weight` alone.
    weight: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedSwitch {
    upstream: String,
}

fn one() -> f64 {
    1.0
}

/// What is asked for by a path below `/api/`.
enum Asked<'a> {
    List,
    Revert(&'a str),
    Backend(&'a str),
    Members(String),
    Switch(String),
    Split(String),
}

impl<'a> Asked<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let named = |name: &str| percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned();
        let steps: Vec<&str> = path.split('/').collect();
        Some(match *steps.as_slice() {
            ["edits"] => Self::List,
            ["edits", id] => Self::Revert(id),
            ["backends", action @ ("drain" | "undrain" | "weight")] => Self::Backend(action),
            ["upstreams", upstream, "backends"] => Self::Members(named(upstream)),
            ["rules", rule, "switch"] => Self::Switch(named(rule)),
            ["rules", rule, "split"] => Self::Split(named(rule)),
            _ => return None,
        })
    }
}

/// Whether a path below `/api/` is one of these.
pub(crate) fn has(path: &str) -> bool {
    path.strip_prefix(super::PREFIX).is_some_and(|path| Asked::of(path).is_some())
}

impl Api {
    /// Answers one of these paths.
    pub(crate) async fn edit(&self, request: &ControlRequest) -> Response<Bytes> {
        let action = request.head.uri.path().strip_prefix(super::PREFIX).unwrap_or_default();
        match self.edited(action, request).await {
            Ok(document) => answer(StatusCode::OK, "application/json", &document),
            Err(refused) => refused.response(action, request.peer),
        }
    }

    async fn edited(&self, action: &str, request: &ControlRequest) -> Result<Value, Refused> {
        let unknown = || refused(StatusCode::NOT_FOUND, "no_page", "the admin API has no such path");
        let asked = Asked::of(action).ok_or_else(unknown)?;
        let method = &request.head.method;
        self.authorise(request)?;
        let by = request.peer.ip().to_string();
        let reloading = &self.reloading;
        match asked {
            Asked::List => {
                let (version, edits) = reloading.edits().await;
                Ok(json!({ "version": version, "edits": edits.iter().map(shown).collect::<Vec<_>>() }))
            }
            Asked::Revert(id) => {
                let bad = |_| refused(StatusCode::NOT_FOUND, "unknown_edit", "no edit in force has this id");
                let id = id.parse().map_err(bad)?;
                let (made, what) = reloading.revert(id, Terms { by, ..Terms::default() }).await?;
                self.audit("revert", &what.to_string(), &made, request);
                let mut document = answered(&made);
                if let Some(document) = document.as_object_mut() {
                    document.remove("edit");
                    document.insert("reverted".to_owned(), json!(id));
                }
                Ok(document)
            }
            Asked::Backend(action) => {
                let (asked, terms): (AskedChange, _) =
                    body(request, by, r#"{"backend": "http://10.0.0.1:8080"}"#)?;
                let change = change_of(action, asked.weight)?;
                let (upstream, backend) = (asked.upstream.clone(), asked.backend.clone());
                let made = reloading.edit_backend(upstream, backend, change, terms).await?;
                let told = made.told;
                tracing::info!(
                    component = "admin",
                    action,
                    backend = asked.backend,
                    upstream = asked.upstream,
                    weight = asked.weight,
                    changed = told,
                    before = made.before,
                    after = made.after,
                    version = made.version,
                    token = self.has_token(),
                    subject = request.subject.as_deref(),
                    peer = %request.peer,
                    "backend changed"
                );
                let mut document = answered(&made);
                if let Some(document) = document.as_object_mut() {
                    document.insert("action".to_owned(), json!(action));
                    document.insert("backend".to_owned(), json!(asked.backend));
                    document.insert("changed".to_owned(), json!(told));
                }
                Ok(document)
            }
            Asked::Members(upstream) => {
                let (asked, terms): (AskedBackend, _) =
                    body(request, by, r#"{"backend": "http://10.0.0.1:8080"}"#)?;
                let AskedBackend { backend, weight, backup } = asked;
                let what = match *method == Method::DELETE {
                    true => What::Remove { upstream, backend },
                    false => What::Add { upstream, backend, weight, backup },
                };
                self.make(what, terms, request).await
            }
            Asked::Switch(rule) => {
                let (asked, terms): (AskedSwitch, _) = body(request, by, r#"{"upstream": "next"}"#)?;
                self.make(What::Switch { rule, upstream: asked.upstream }, terms, request).await
            }
            Asked::Split(rule) => {
                let like =
                    r#"{"parts": [{"upstream": "app", "weight": 90}, {"upstream": "next", "weight": 10}]}"#;
                let (split, terms): (Split, _) = body(request, by, like)?;
                self.make(What::Split { rule, split }, terms, request).await
            }
        }
    }

    async fn make(&self, what: What, terms: Terms, request: &ControlRequest) -> Result<Value, Refused> {
        let made = self.reloading.edit(what.clone(), terms).await?;
        let action = match &what {
            What::Add { .. } => "add",
            What::Remove { .. } => "remove",
            What::Switch { .. } => "switch",
            What::Split { .. } => "split",
            What::Weight { .. } => "weight",
            What::Drain { .. } => "drain",
        };
        self.audit(action, &what.to_string(), &made, request);
        Ok(answered(&made))
    }

    fn audit(&self, action: &str, what: &str, made: &Made, request: &ControlRequest) {
        let expires = made.edit.as_ref().and_then(|edit| edit.expires_at_ms);
        tracing::info!(
            component = "admin",
            action,
            what,
            before = made.before,
            after = made.after,
            version = made.version,
            edit = made.edit.as_ref().map(|edit| edit.id),
            expires_at_ms = expires,
            persist = made.edit.as_ref().is_some_and(|edit| edit.persist),
            token = self.has_token(),
            subject = request.subject.as_deref(),
            peer = %request.peer,
            "configuration edited"
        );
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let Refusal { status, code, detail, version } = refusal;
        Self { version, ..refused(status, code, detail) }
    }
}

fn change_of(action: &str, weight: Option<f64>) -> Result<BackendChange, Refused> {
    let bad = |detail: String| refused(StatusCode::BAD_REQUEST, "bad_request", detail);
    match (action, weight) {
        ("drain", None) => Ok(BackendChange::Drain),
        ("undrain", None) => Ok(BackendChange::Undrain),
        ("weight", Some(weight)) => {
            Ok(BackendChange::Weight(Weight::try_from(weight).map_err(|error| bad(error.to_string()))?))
        }
        ("weight", None) => Err(bad("`weight` is missing".to_owned())),
        _ => Err(bad("`weight` is changed at /api/backends/weight".to_owned())),
    }
}

/// The body: what belongs to any change, and the rest as this one has it.
fn body<T: DeserializeOwned>(
    request: &ControlRequest,
    by: String,
    like: &str,
) -> Result<(T, Terms), Refused> {
    let bad = |detail: String| refused(StatusCode::BAD_REQUEST, "bad_request", detail);
    let unlike = |error: serde_json::Error| bad(format!("the body must be JSON such as {like}: {error}"));
    let mut document: serde_json::Map<String, Value> =
        serde_json::from_slice(&request.body).map_err(unlike)?;
    let mut beside = serde_json::Map::new();
    for key in ["expires", "persist", "version"] {
        if let Some(value) = document.remove(key) {
            beside.insert(key.to_owned(), value);
        }
    }
    let Beside { expires, persist, version } =
        serde_json::from_value(Value::Object(beside)).map_err(unlike)?;
    let expires = expires
        .map(|it| it.duration().map_err(|error| bad(format!("`expires` must be a duration: {error}"))));
    let expires = expires.transpose()?;
    let rest = serde_json::from_value(Value::Object(document)).map_err(unlike)?;
    Ok((rest, Terms { by, expires, persist, version }))
}

fn answered(made: &Made) -> Value {
    let mut document = json!({
        "version": made.version,
        "before": made.before,
        "after": made.after,
        "edit": made.edit.as_ref().map(shown),
    });
    if let (Some(reason), Some(document)) = (&made.not_kept, document.as_object_mut()) {
        document.insert("not_kept".to_owned(), json!(reason));
    }
    document
}

fn shown(edit: &Edit) -> Value {
    let mut document = json!(edit);
    if let Some(document) = document.as_object_mut() {
        document.insert("text".to_owned(), json!(edit.what.to_string()));
    }
    document
}
