//! A button that copies a text. It needs a script, so it only shows where one runs.

use super::icon::{self, Icon};
use leptos::prelude::*;

/// Copies `text` to the clipboard and says so for two seconds.
#[component]
pub(crate) fn CopyButton(
    /// What is copied.
    #[prop(into)]
    text: String,
    /// What the button says.
    label: &'static str,
) -> impl IntoView {
    let copied = RwSignal::new(false);
    let copy = move |_| {
        write_clipboard(&text);
        copied.set(true);
        set_timeout(move || copied.set(false), std::time::Duration::from_secs(2));
    };
    view! {
        <button type="button" class="button small scripted" on:click=copy>
            <Icon path=icon::COPY/>
            <span aria-live="polite">{move || if copied.get() { "Copied" } else { label }}</span>
        </button>
    }
    .into_any()
}

#[cfg(feature = "hydrate")]
fn write_clipboard(text: &str) {
    if let Some(window) = web_sys::window() {
        // The promise resolves on its own; a refusal is the browser's to explain.
        let _ = window.navigator().clipboard().write_text(text);
    }
}

#[cfg(not(feature = "hydrate"))]
const fn write_clipboard(_text: &str) {}
