//! The application: the document around it, and which page stands at which path.

use crate::components::frame::Frame;
use crate::components::time::provide_zone;
use crate::pages::call::CallPage;
use crate::pages::calls::CallsPage;
use crate::pages::keys::KeysPage;
use crate::pages::missing::Missing;
use crate::pages::models::ModelsPage;
use crate::pages::overview::OverviewPage;
use crate::pages::sign_in::SignInPage;
use leptos::prelude::*;
use leptos_meta::provide_meta_context;
use leptos_router::components::{ParentRoute, Route, Router, Routes};
use leptos_router::{SsrMode, path};

/// All pages. Each is rendered completely before it is sent, so that it is whole without scripts and its HTTP status is
/// the right one.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    provide_zone();
    view! {
        <Router>
            <Routes fallback=Missing>
                <Route path=path!("/sign-in") view=SignInPage ssr=SsrMode::Async/>
                <ParentRoute path=path!("") view=Frame ssr=SsrMode::Async>
                    <Route path=path!("/") view=OverviewPage ssr=SsrMode::Async/>
                    <Route path=path!("/calls") view=CallsPage ssr=SsrMode::Async/>
                    <Route path=path!("/calls/:trace_id/:span_id") view=CallPage ssr=SsrMode::Async/>
                    <Route path=path!("/models") view=ModelsPage ssr=SsrMode::Async/>
                    <Route path=path!("/keys") view=KeysPage ssr=SsrMode::Async/>
                </ParentRoute>
            </Routes>
        </Router>
    }
    .into_any()
}

/// What the document's head needs to know.
#[cfg(feature = "ssr")]
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// `light` or `dark`, when the viewer chose.
    pub theme: Option<&'static str>,
    /// Path of the style sheet.
    pub style: String,
    /// Path of the script that draws charts and minds the keyboard.
    pub script: String,
    /// Path of the script that loads the wasm, when this binary carries it.
    pub loader: Option<String>,
    /// Path of the wasm.
    pub wasm: Option<String>,
    /// Path of the chart library, when this binary carries it.
    pub chart_script: Option<String>,
    /// Path of the chart library's styles.
    pub chart_style: Option<String>,
}

/// The document around the application.
#[cfg(feature = "ssr")]
pub fn shell(head: Head) -> impl IntoView {
    use leptos::nonce::use_nonce;
    use leptos_meta::MetaTags;
    let start = head.loader.clone().zip(head.wasm).map(|(loader, wasm)| {
        let start = format!(
            "import init,{{hydrate}} from \"{loader}\";await init({{module_or_path:\"{wasm}\"}});hydrate();"
        );
        view! {
            <link rel="modulepreload" href=loader/>
            <link rel="preload" href=wasm r#as="fetch" r#type="application/wasm" crossorigin="anonymous"/>
            <script type="module" nonce=use_nonce() inner_html=start></script>
        }
    });
    view! {
        <!DOCTYPE html>
        <html lang="en" data-theme=head.theme>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1"/>
                <meta name="color-scheme" content="light dark"/>
                <link rel="icon" href="/assets/icon.svg" type="image/svg+xml"/>
                <link rel="stylesheet" href=head.style/>
                {head.chart_style.map(|href| view! { <link rel="stylesheet" href=href/> })}
                <script defer nonce=use_nonce() src=head.script data-charts=head.chart_script></script>
                {start}
                <MetaTags/>
            </head>
            <body>
                <App/>
            </body>
        </html>
    }
    .into_any()
}
