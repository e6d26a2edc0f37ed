//! Light or dark. The system decides until the viewer does; the choice is kept in a cookie, so that the server renders
//! the page right at once.

use super::icon::{self, Icon};
use leptos::prelude::*;

/// Name of the cookie.
#[cfg(any(feature = "ssr", feature = "hydrate"))]
pub(crate) const COOKIE: &str = "ct_theme";

/// Changes between light and dark.
#[component]
pub(crate) fn ThemeToggle() -> impl IntoView {
    view! {
        <button type="button" class="button icon-only scripted" title="Light or dark" aria-label="Light or dark" on:click=|_| toggle()>
            <Icon path=icon::SUN/>
        </button>
    }
    .into_any()
}

#[cfg(feature = "hydrate")]
fn toggle() {
    use wasm_bindgen::JsCast;
    let Some(window) = web_sys::window() else { return };
    let Some(document) = window.document().and_then(|d| d.dyn_into::<web_sys::HtmlDocument>().ok()) else {
        return;
    };
    let Some(root) = document.document_element() else { return };
    let system =
        window.match_media("(prefers-color-scheme: dark)").ok().flatten().is_some_and(|m| m.matches());
    let dark = root.get_attribute("data-theme").map_or(system, |theme| theme == "dark");
    let theme = if dark { "light" } else { "dark" };
    // Neither can fail in a page of our own; if it did, the theme would just stay.
    let _ = root.set_attribute("data-theme", theme);
    let _ = document.set_cookie(&format!("{COOKIE}={theme}; Path=/; Max-Age=31536000; SameSite=Lax"));
}

#[cfg(not(feature = "hydrate"))]
const fn toggle() {}
