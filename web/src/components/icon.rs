//! Line icons, 16 × 16, drawn in the colour of the text around them. Decoration: the words beside them name things.

use leptos::prelude::*;

/// An icon by its path data.
#[component]
pub(crate) fn Icon(
    /// SVG path data within 0 0 16 16.
    path: &'static str,
) -> impl IntoView {
    view! {
        <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
            <path d=path></path>
        </svg>
    }
    .into_any()
}

pub(crate) const OVERVIEW: &str = "M2 9.5h2.5L6.5 4l3 8.5 2-5H14";
pub(crate) const CALLS: &str = "M2.5 4h11M2.5 8h11M2.5 12h7";
pub(crate) const MODELS: &str = "M8 1.8 13.6 5v6L8 14.2 2.4 11V5zM2.6 5.1 8 8.2l5.4-3.1M8 8.2v5.8";
pub(crate) const KEYS: &str = "M9.3 6.7a3.3 3.3 0 1 0-2.5 2.4L8 10.3h1.6v1.6h1.6v1.6h2.3v-2.4zM5 5.2v.1";
pub(crate) const SIGN_OUT: &str = "M6 2.5H3.5v11H6M10.5 5l3 3-3 3M13.2 8H6.5";
pub(crate) const SUN: &str = "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1";
pub(crate) const SEARCH: &str = "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.3 10.3l3.4 3.4";
pub(crate) const COPY: &str = "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z";
pub(crate) const FILTER: &str = "M2 3.5h12M4.5 8h7M6.5 12.5h3";
pub(crate) const IMAGE: &str = "M2.5 3h11v10h-11zM2.5 11l3.5-3.5 3 3 2-2 2.5 2.5M10.5 5.6v.1";
pub(crate) const TOOL: &str =
    "M10 2.5a3.4 3.4 0 0 0-3.2 4.6L2.6 11.3l2.1 2.1 4.2-4.2A3.4 3.4 0 0 0 13.4 5L11.3 7 9 4.8l2-2.1z";
