//! The console: what a person sees of Control Tower, and the JSON read API behind it.
//!
//! One set of pages, built twice: on the server (feature `ssr`) they become complete HTML, useful without scripts; in the
//! browser (feature `hydrate`, wasm) the same code takes that HTML over. Both sides ask for data through [`api`]: on the
//! server a direct read, in the browser a request to `/api/v1/`, which answers with the same types.
//!
//! What a page shows is in its URL: time range, filters and cursor are [`query::Query`], so that back, forward, links
//! and plain GET forms all work.

// The types of views nest deeply.
#![recursion_limit = "256"]

#[cfg(feature = "ssr")]
pub mod admin;
pub mod api;
pub mod app;
#[expect(clippy::needless_pass_by_value, reason = "a component owns its properties")]
mod components;
pub mod format;
#[expect(clippy::needless_pass_by_value, reason = "a component owns its properties")]
mod pages;
pub mod query;
#[cfg(feature = "ssr")]
pub mod server;
pub mod transcript;
pub mod when;

/// Takes over the HTML that the server rendered. Called once by the page's loader script.
#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_body(app::App);
    if let Some(root) = web_sys::window().and_then(|w| w.document()).and_then(|d| d.document_element()) {
        // Styles for scripted pages, and tests, wait for this mark.
        let _ = root.set_attribute("data-hydrated", "");
    }
}
