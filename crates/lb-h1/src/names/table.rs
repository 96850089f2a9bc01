//! The rows: name, spelling on the wire, what the codec does with it, and its traits.
//!
//! Names come from the IANA registry and from what browsers, clouds and tracers send. A row costs a little
//! memory and nothing at run time; without one, a name of its own costs an allocation a message.

use http::HeaderName;

use super::{FLEETING, FORWARDING, FRAMING, HOP, Kind, Known, NO_TRAILER, NONE};

macro_rules! rows {
    ($($name:literal $wire:literal $kind:ident $($traits:ident)|+;)*) => {
        pub(super) static KNOWN: [Known; WIRES.len()] = numbered([$(Known {
            name: HeaderName::from_static($name),
            lower: $name,
            wire: concat!($wire, ": "),
            kind: Kind::$kind,
            traits: $($traits)|+,
            row: 0,
        }),*]);

        /// The spellings alone, since a static with names in it cannot be read while compiling.
        pub(super) const WIRES: &[&str] = &[$(concat!($wire, ": ")),*];
    };
}

#[expect(clippy::indexing_slicing, reason = "evaluated while compiling, and the index runs over the table")]
const fn numbered<const COUNT: usize>(mut rows: [Known; COUNT]) -> [Known; COUNT] {
    let mut row = 0;
    while row < COUNT {
        rows[row].row = row;
        row += 1;
    }
    rows
}

rows! {
    "host" "Host" Host NO_TRAILER | FRAMING;
    "content-length" "Content-Length" ContentLength NO_TRAILER | FRAMING;
    "transfer-encoding" "Transfer-Encoding" TransferEncoding HOP | NO_TRAILER | FRAMING;
    "connection" "Connection" Connection HOP | NO_TRAILER;
    "keep-alive" "Keep-Alive" Plain HOP | NO_TRAILER;
    "proxy-connection" "Proxy-Connection" Plain HOP | NO_TRAILER;
    "http2-settings" "HTTP2-Settings" Plain HOP | NO_TRAILER;
    "te" "TE" Te HOP | NO_TRAILER;
    "upgrade" "Upgrade" Upgrade HOP | NO_TRAILER;
    "expect" "Expect" Expect HOP | NO_TRAILER;
    "date" "Date" Date NO_TRAILER | FLEETING;
    "trailer" "Trailer" Plain NO_TRAILER;
    "forwarded" "Forwarded" Plain NO_TRAILER | FORWARDING;
    "x-forwarded-for" "X-Forwarded-For" Plain NO_TRAILER | FORWARDING | FLEETING;
    "x-forwarded-host" "X-Forwarded-Host" Plain NO_TRAILER | FORWARDING;
    "x-forwarded-proto" "X-Forwarded-Proto" Plain NO_TRAILER | FORWARDING;
    "x-forwarded-port" "X-Forwarded-Port" Plain NO_TRAILER | FORWARDING;
    "x-forwarded-server" "X-Forwarded-Server" Plain NO_TRAILER | FORWARDING;
    "x-forwarded-prefix" "X-Forwarded-Prefix" Plain NO_TRAILER | FORWARDING;
    "x-real-ip" "X-Real-IP" Plain NO_TRAILER | FORWARDING;
    "x-request-id" "X-Request-Id" Plain NO_TRAILER | FORWARDING | FLEETING;
    "via" "Via" Plain NO_TRAILER | FORWARDING;
    "traceparent" "traceparent" Plain FORWARDING | FLEETING;
    "tracestate" "tracestate" Plain FORWARDING;
    "accept" "Accept" Plain NONE;
    "accept-charset" "Accept-Charset" Plain NONE;
    "accept-encoding" "Accept-Encoding" Plain NONE;
    "accept-language" "Accept-Language" Plain NONE;
    "accept-ranges" "Accept-Ranges" Plain NONE;
    "access-control-allow-credentials" "Access-Control-Allow-Credentials" Plain NONE;
    "access-control-allow-headers" "Access-Control-Allow-Headers" Plain NONE;
    "access-control-allow-methods" "Access-Control-Allow-Methods" Plain NONE;
    "access-control-allow-origin" "Access-Control-Allow-Origin" Plain NONE;
    "access-control-expose-headers" "Access-Control-Expose-Headers" Plain NONE;
    "access-control-max-age" "Access-Control-Max-Age" Plain NONE;
    "access-control-request-headers" "Access-Control-Request-Headers" Plain NONE;
    "access-control-request-method" "Access-Control-Request-Method" Plain NONE;
    "age" "Age" Plain NO_TRAILER;
    "allow" "Allow" Plain NO_TRAILER;
    "authorization" "Authorization" Plain NO_TRAILER;
    "cache-control" "Cache-Control" Plain NO_TRAILER;
    "content-disposition" "Content-Disposition" Plain NO_TRAILER;
    "content-encoding" "Content-Encoding" Plain NO_TRAILER;
    "content-language" "Content-Language" Plain NO_TRAILER;
    "content-location" "Content-Location" Plain NO_TRAILER;
    "content-range" "Content-Range" Plain NO_TRAILER;
    "content-security-policy" "Content-Security-Policy" Plain NO_TRAILER;
    "content-security-policy-report-only" "Content-Security-Policy-Report-Only" Plain NO_TRAILER;
    "content-type" "Content-Type" Plain NO_TRAILER;
    "cookie" "Cookie" Plain NO_TRAILER;
    "expires" "Expires" Plain NO_TRAILER;
    "if-match" "If-Match" Plain NO_TRAILER;
    "if-modified-since" "If-Modified-Since" Plain NO_TRAILER;
    "if-none-match" "If-None-Match" Plain NO_TRAILER;
    "if-range" "If-Range" Plain NO_TRAILER;
    "if-unmodified-since" "If-Unmodified-Since" Plain NO_TRAILER;
    "location" "Location" Plain NO_TRAILER;
    "max-forwards" "Max-Forwards" Plain NO_TRAILER;
    "pragma" "Pragma" Plain NO_TRAILER;
    "proxy-authenticate" "Proxy-Authenticate" Plain NO_TRAILER;
    "proxy-authorization" "Proxy-Authorization" Plain NO_TRAILER;
    "range" "Range" Plain NO_TRAILER;
    "retry-after" "Retry-After" Plain NO_TRAILER;
    "set-cookie" "Set-Cookie" Plain NO_TRAILER;
    "vary" "Vary" Plain NO_TRAILER;
    "warning" "Warning" Plain NO_TRAILER;
    "www-authenticate" "WWW-Authenticate" Plain NO_TRAILER;
    "strict-transport-security" "Strict-Transport-Security" Plain NO_TRAILER;
    "alt-svc" "Alt-Svc" Plain NONE;
    "cache-status" "Cache-Status" Plain NONE;
    "cdn-cache-control" "CDN-Cache-Control" Plain NONE;
    "dnt" "DNT" Plain NONE;
    "etag" "ETag" Plain NONE;
    "from" "From" Plain NONE;
    "last-modified" "Last-Modified" Plain NONE;
    "link" "Link" Plain NONE;
    "origin" "Origin" Plain NONE;
    "referer" "Referer" Plain NONE;
    "referrer-policy" "Referrer-Policy" Plain NONE;
    "refresh" "Refresh" Plain NONE;
    "sec-websocket-accept" "Sec-WebSocket-Accept" Plain NO_TRAILER;
    "sec-websocket-extensions" "Sec-WebSocket-Extensions" Plain NO_TRAILER;
    "sec-websocket-key" "Sec-WebSocket-Key" Plain NO_TRAILER;
    "sec-websocket-protocol" "Sec-WebSocket-Protocol" Plain NO_TRAILER;
    "sec-websocket-version" "Sec-WebSocket-Version" Plain NO_TRAILER;
    "server" "Server" Plain NONE;
    "upgrade-insecure-requests" "Upgrade-Insecure-Requests" Plain NONE;
    "user-agent" "User-Agent" Plain NONE;
    "x-content-type-options" "X-Content-Type-Options" Plain NONE;
    "x-dns-prefetch-control" "X-DNS-Prefetch-Control" Plain NONE;
    "x-frame-options" "X-Frame-Options" Plain NONE;
    "x-xss-protection" "X-XSS-Protection" Plain NONE;
    "sec-fetch-site" "Sec-Fetch-Site" Plain NONE;
    "sec-fetch-mode" "Sec-Fetch-Mode" Plain NONE;
    "sec-fetch-dest" "Sec-Fetch-Dest" Plain NONE;
    "sec-fetch-user" "Sec-Fetch-User" Plain NONE;
    "sec-ch-ua" "Sec-CH-UA" Plain NONE;
    "sec-ch-ua-mobile" "Sec-CH-UA-Mobile" Plain NONE;
    "sec-ch-ua-platform" "Sec-CH-UA-Platform" Plain NONE;
    "sec-ch-ua-platform-version" "Sec-CH-UA-Platform-Version" Plain NONE;
    "sec-ch-ua-arch" "Sec-CH-UA-Arch" Plain NONE;
    "sec-ch-ua-model" "Sec-CH-UA-Model" Plain NONE;
    "sec-ch-ua-full-version-list" "Sec-CH-UA-Full-Version-List" Plain NONE;
    "sec-gpc" "Sec-GPC" Plain NONE;
    "sec-purpose" "Sec-Purpose" Plain NONE;
    "priority" "Priority" Plain NONE;
    "purpose" "Purpose" Plain NONE;
    "early-data" "Early-Data" Plain NONE;
    "save-data" "Save-Data" Plain NONE;
    "x-requested-with" "X-Requested-With" Plain NONE;
    "x-csrf-token" "X-CSRF-Token" Plain NONE;
    "x-api-key" "X-API-Key" Plain NONE;
    "x-http-method-override" "X-HTTP-Method-Override" Plain NONE;
    "x-correlation-id" "X-Correlation-ID" Plain NONE;
    "x-forwarded-scheme" "X-Forwarded-Scheme" Plain NONE;
    "x-powered-by" "X-Powered-By" Plain NONE;
    "x-cache" "X-Cache" Plain NONE;
    "x-cache-hits" "X-Cache-Hits" Plain NONE;
    "x-served-by" "X-Served-By" Plain NONE;
    "x-timer" "X-Timer" Plain NONE;
    "x-runtime" "X-Runtime" Plain NONE;
    "x-robots-tag" "X-Robots-Tag" Plain NONE;
    "x-ua-compatible" "X-UA-Compatible" Plain NONE;
    "x-download-options" "X-Download-Options" Plain NONE;
    "x-permitted-cross-domain-policies" "X-Permitted-Cross-Domain-Policies" Plain NONE;
    "x-ratelimit-limit" "X-Ratelimit-Limit" Plain NONE;
    "x-ratelimit-remaining" "X-Ratelimit-Remaining" Plain NONE;
    "x-ratelimit-reset" "X-Ratelimit-Reset" Plain NONE;
    "ratelimit-limit" "Ratelimit-Limit" Plain NONE;
    "ratelimit-remaining" "Ratelimit-Remaining" Plain NONE;
    "ratelimit-reset" "Ratelimit-Reset" Plain NONE;
    "ratelimit-policy" "Ratelimit-Policy" Plain NONE;
    "server-timing" "Server-Timing" Plain NONE;
    "timing-allow-origin" "Timing-Allow-Origin" Plain NONE;
    "permissions-policy" "Permissions-Policy" Plain NONE;
    "feature-policy" "Feature-Policy" Plain NONE;
    "cross-origin-opener-policy" "Cross-Origin-Opener-Policy" Plain NONE;
    "cross-origin-embedder-policy" "Cross-Origin-Embedder-Policy" Plain NONE;
    "cross-origin-resource-policy" "Cross-Origin-Resource-Policy" Plain NONE;
    "report-to" "Report-To" Plain NONE;
    "reporting-endpoints" "Reporting-Endpoints" Plain NONE;
    "nel" "NEL" Plain NONE;
    "accept-ch" "Accept-Ch" Plain NONE;
    "alt-used" "Alt-Used" Plain NONE;
    "origin-agent-cluster" "Origin-Agent-Cluster" Plain NONE;
    "last-event-id" "Last-Event-ID" Plain NONE;
    "idempotency-key" "Idempotency-Key" Plain NONE;
    "content-md5" "Content-MD5" Plain NONE;
    "digest" "Digest" Plain NONE;
    "content-digest" "Content-Digest" Plain NONE;
    "baggage" "baggage" Plain NONE;
    "x-b3-traceid" "X-B3-TraceId" Plain NONE;
    "x-b3-spanid" "X-B3-SpanId" Plain NONE;
    "x-b3-parentspanid" "X-B3-ParentSpanId" Plain NONE;
    "x-b3-sampled" "X-B3-Sampled" Plain NONE;
    "b3" "B3" Plain NONE;
    "x-amzn-trace-id" "X-Amzn-Trace-Id" Plain NONE;
    "x-amz-cf-id" "X-Amz-Cf-Id" Plain NONE;
    "x-amz-date" "X-Amz-Date" Plain NONE;
    "x-amz-request-id" "X-Amz-Request-Id" Plain NONE;
    "cf-ray" "CF-Ray" Plain NONE;
    "cf-connecting-ip" "CF-Connecting-IP" Plain NONE;
    "cf-ipcountry" "CF-IPCountry" Plain NONE;
    "cf-cache-status" "CF-Cache-Status" Plain NONE;
    "true-client-ip" "True-Client-Ip" Plain NONE;
    "grpc-status" "grpc-status" Plain NONE;
    "grpc-message" "grpc-message" Plain NONE;
    "grpc-timeout" "grpc-timeout" Plain FLEETING;
    "grpc-encoding" "grpc-encoding" Plain NONE;
    "grpc-accept-encoding" "grpc-accept-encoding" Plain NONE;
    "depth" "Depth" Plain NONE;
    "destination" "Destination" Plain NONE;
    "overwrite" "Overwrite" Plain NONE;
    "soapaction" "SOAPAction" Plain NONE;
    "x-accel-buffering" "X-Accel-Buffering" Plain NONE;
    "x-accel-expires" "X-Accel-Expires" Plain NONE;
    "x-proxied-by" "X-Proxied-By" Plain NONE;
    "x-proxy-version" "X-Proxy-Version" Plain NONE;
}
