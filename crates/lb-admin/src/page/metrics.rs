//! `/metrics`: Prometheus text, or JSON for `?format=json`.

use bytes::Bytes;
use http::{Response, StatusCode};
use lb_observe::live::{Live, LiveBackend, LiveUpstream};
use lb_observe::{json, prometheus};

use crate::pages::Scene;
use crate::response;

pub(crate) fn metrics(scene: &Scene<'_>, query: Option<&str>) -> Response<Bytes> {
    let live = live(scene);
    if query.unwrap_or("").split('&').any(|pair| pair == "format=json") {
        return response::json(StatusCode::OK, &json::report(scene.registry, &live));
    }
    let text = prometheus::render(scene.registry, &live, scene.control, scene.spare.take());
    response::new(StatusCode::OK, prometheus::CONTENT_TYPE, scene.spare.lend(text))
}

fn live<'a>(scene: &Scene<'a>) -> Live<'a> {
    let view = scene.view;
    let backend = |backend: &'a crate::BackendView| LiveBackend {
        stats: &backend.stats,
        weight: backend.weight,
        healthy: backend.healthy,
        active: backend.active_connections,
        circuit: backend.circuit,
        last_probe: backend.last_probe,
    };
    let upstream = |upstream: &'a crate::UpstreamView| LiveUpstream {
        name: &upstream.name,
        strategy: &upstream.strategy,
        backends: upstream.backends.iter().map(backend).collect(),
    };
    Live {
        version: view.version,
        now: scene.now,
        time: scene.time,
        uptime: view.uptime,
        upstreams: view.upstreams.iter().map(upstream).collect(),
    }
}
