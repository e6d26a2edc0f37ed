//! Putting the console together and running it.

use super::headers::page_policy;
use super::{AppState, Config, Parts, api, assets, headers, identity, session, sign_in};
use crate::admin::Gateways;
use crate::app::{App, Head, shell};
use crate::components::theme;
use anyhow::{Context, Result};
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Router, middleware};
use control::{Compilers, Control};
use http::{HeaderName, HeaderValue, header};
use leptos::config::LeptosOptions;
use leptos::nonce::use_nonce;
use leptos::prelude::use_context;
use leptos_axum::{LeptosRoutes, ResponseOptions, generate_route_list};
use runtime::{Clock, Health, Metrics, ServeOptions, Shutdown};
use std::sync::Arc;
use std::time::Duration;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use warehouse::{Warehouse, WarehouseConfig};

/// Most bytes of a request's body; forms and keys are small.
const MAX_BODY: usize = 256 * 1024;
/// How often the stores are asked whether they are there.
const PROBE: Duration = Duration::from_secs(5);

/// Runs the console until `shutdown`. What policy is written must pass `compilers`.
pub async fn run(
    config: Config,
    warehouse: WarehouseConfig,
    control_url: &str,
    compilers: Compilers,
    shutdown: Shutdown,
) -> Result<()> {
    config.validate().map_err(anyhow::Error::msg)?;
    let health = Health::new();
    let control = Control::open(control_url).await.context("open the control database")?.compiling(compilers);
    let metrics = Metrics::new();
    let listener = runtime::listen("web.listen", config.listen)?;
    let drain_deadline = Duration::from_secs(u64::from(config.drain_seconds));
    let gateways = Gateways::new(&config)?;
    let parts = Parts {
        config,
        gateways,
        control,
        reads: Arc::new(Warehouse::connect(warehouse)),
        clock: Clock::system(),
        metrics: metrics.clone(),
    };
    let state = AppState::new(parts);
    match state.assets.missing() {
        None => tracing::info!("pages are served with hydration"),
        Some(reason) => {
            tracing::warn!("pages are served without hydration: there are no browser assets, {reason}");
        }
    }
    tracing::info!(address = %listener.local_addr()?, "the console listens");
    tokio::spawn(probe(state.clone(), health.clone(), shutdown.clone()));
    let service = router(&state).merge(runtime::health::router(health, metrics));
    let options = ServeOptions { drain_deadline, ..ServeOptions::default() };
    // What had to be cut is in the log already.
    let _ = runtime::serve(listener, service, shutdown, options).await;
    Ok(())
}

/// All routes of the console but health.
pub fn router(state: &AppState) -> Router {
    let pages =
        pages(state).layer(middleware::from_fn_with_state(state.clone(), identity::require_for_pages));
    let open = Router::new()
        .route("/sign-in", post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/assets/{name}", get(assets::serve));
    let compression = CompressionLayer::new().quality(CompressionLevel::Fastest);
    open.nest("/api/v1", api::router(state))
        .with_state(state.clone())
        .merge(sign_in_page(state))
        .merge(pages)
        .nest("/admin/v1", admin(state))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(compression)
        .layer(middleware::from_fn(headers::add))
}

fn admin(state: &AppState) -> Router {
    crate::admin::router(crate::admin::AdminState {
        control: state.parts.control.clone(),
        clock: state.parts.clock.clone(),
        gateways: state.parts.gateways.clone(),
    })
}

/// The pages that want a viewer. What no route knows is a page too: the one that says so.
fn pages(state: &AppState) -> Router {
    let options = LeptosOptions::builder().output_name("web").build();
    let routes = generate_route_list(App).into_iter().filter(|route| route.path() != "/sign-in").collect();
    Router::new()
        .leptos_routes_with_context(&options, routes, || {}, render(state))
        .fallback(leptos_axum::render_app_async_with_context(|| {}, render(state)))
        .with_state(options)
}

fn sign_in_page(state: &AppState) -> Router {
    Router::new().route("/sign-in", get(leptos_axum::render_app_async_with_context(|| {}, render(state))))
}

/// Renders the document for the request at hand.
fn render(state: &AppState) -> impl Fn() -> leptos::prelude::AnyView + Clone + Send + Sync + 'static {
    let state = state.clone();
    move || {
        use leptos::prelude::IntoAny;
        let theme = use_context::<http::request::Parts>().and_then(|parts| {
            let chosen = session::cookie(&parts.headers, theme::COOKIE)?;
            ["light", "dark"].into_iter().find(|theme| *theme == chosen)
        });
        if let Some((response, nonce)) = use_context::<ResponseOptions>().zip(use_nonce()) {
            set_header(&response, header::CONTENT_SECURITY_POLICY, &page_policy(&nonce));
        }
        shell(Head { theme, ..state.assets.head().clone() }).into_any()
    }
}

fn set_header(response: &ResponseOptions, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.insert_header(name, value);
    }
}

/// Keeps `/readyz` true to what the stores say.
async fn probe(state: AppState, health: Health, shutdown: Shutdown) {
    let (database, store) = (health.component("control database"), health.component("store"));
    loop {
        match state.parts.control.version().await {
            Ok(_) => database.set_ready(),
            Err(error) => database.set_unready(error.to_string()),
        }
        match state.parts.reads.ping().await {
            Ok(()) => store.set_ready(),
            Err(error) => store.set_unready(error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(PROBE) => {}
            () = shutdown.triggered() => return,
        }
    }
}
