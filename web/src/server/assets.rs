//! Files for the browser, all inside the binary: the style sheets and the small script written by hand, and what
//! `cargo xtask console` built (wasm, its loader, the chart library), when the binary was built with it.
//!
//! Names carry a hash of the content, so a browser may keep them for good.

use crate::app::Head;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// A file as the build script embeds it.
struct File {
    name: &'static str,
    raw: &'static [u8],
    brotli: Option<&'static [u8]>,
}

mod embedded {
    use super::File;
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}

/// The style sheets, in order.
const STYLES: [&str; 5] = [
    include_str!("../../style/tokens.css"),
    include_str!("../../style/base.css"),
    include_str!("../../style/frame.css"),
    include_str!("../../style/parts.css"),
    include_str!("../../style/pages.css"),
];
const SCRIPT: &str = include_str!("../../assets/console.js");
const ICON: &str = include_str!("../../assets/icon.svg");

/// The names that `xtask` gave to what it built.
#[derive(Debug, Clone, Deserialize)]
struct Manifest {
    loader: String,
    wasm: String,
    chart_script: String,
    chart_style: String,
}

/// All files and what the document's head says about them.
#[derive(Debug)]
pub(crate) struct Assets {
    files: HashMap<String, Asset>,
    head: Head,
    missing: Option<&'static str>,
}

#[derive(Debug, Clone)]
struct Asset {
    raw: Body,
    brotli: Option<&'static [u8]>,
    kind: &'static str,
}

#[derive(Debug, Clone)]
enum Body {
    Built(&'static [u8]),
    Text(String),
}

impl Assets {
    /// Everything that this binary carries.
    pub(crate) fn load() -> Self {
        let mut files = HashMap::new();
        let mut add = |name: String, text: String| {
            let asset = Asset { kind: kind(&name), raw: Body::Text(text), brotli: None };
            let path = format!("/assets/{name}");
            files.insert(name, asset);
            path
        };
        let style = STYLES.concat();
        let mut head = Head {
            style: add(format!("console-{}.css", hash(&style)), style),
            script: add(format!("console-{}.js", hash(SCRIPT)), SCRIPT.to_owned()),
            ..Head::default()
        };
        add(String::from("icon.svg"), ICON.to_owned());
        for file in embedded::FILES {
            let asset = Asset { raw: Body::Built(file.raw), brotli: file.brotli, kind: kind(file.name) };
            files.insert(file.name.to_owned(), asset);
        }
        let path = |name: String| Some(format!("/assets/{name}"));
        let manifest = embedded::MANIFEST.map(serde_json::from_str::<Manifest>);
        let missing = match manifest {
            Ok(Ok(manifest)) => {
                head.loader = path(manifest.loader);
                head.wasm = path(manifest.wasm);
                head.chart_script = path(manifest.chart_script);
                head.chart_style = path(manifest.chart_style);
                None
            }
            Ok(Err(_)) => Some("their manifest cannot be read: build again with `cargo xtask build`"),
            Err(reason) => Some(reason),
        };
        Self { files, head, missing }
    }

    /// What the document's head refers to.
    pub(crate) const fn head(&self) -> &Head {
        &self.head
    }

    /// Why pages are served without hydration; `None` when they are served with it.
    pub(crate) const fn missing(&self) -> Option<&'static str> {
        self.missing
    }
}

/// `GET /assets/{name}`.
pub(crate) async fn serve(
    State(state): State<super::AppState>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(asset) = state.assets.files.get(&name) else {
        return (StatusCode::NOT_FOUND, "there is no such file").into_response();
    };
    let tag = format!("\"{name}\"");
    let mut response =
        if headers.get(header::IF_NONE_MATCH).is_some_and(|given| given.as_bytes() == tag.as_bytes()) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            asset.body(accepts_brotli(&headers))
        };
    // Only names that carry a hash stay what they are.
    let keep =
        if name == "icon.svg" { "public, max-age=3600" } else { "public, max-age=31536000, immutable" };
    let fields = response.headers_mut();
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        fields.insert(header::ETAG, tag);
    }
    response
}

impl Asset {
    fn body(&self, brotli: bool) -> Response {
        let kind = [(header::CONTENT_TYPE, self.kind)];
        match (self.brotli.filter(|_| brotli), &self.raw) {
            (Some(packed), _) => (kind, [(header::CONTENT_ENCODING, "br")], packed).into_response(),
            (None, Body::Built(bytes)) => (kind, *bytes).into_response(),
            (None, Body::Text(text)) => (kind, text.clone()).into_response(),
        }
    }
}

fn accepts_brotli(headers: &HeaderMap) -> bool {
    let accepted =
        headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|coding| coding.trim() == "br")
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

fn hash(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
