//! What stands where there is nothing yet: what would be here, and how to get it here.

use super::copy::CopyButton;
use leptos::prelude::*;

/// An empty place that explains itself.
#[component]
pub(crate) fn Empty(
    /// What is missing.
    title: &'static str,
    /// Why, and what to do.
    children: Children,
) -> impl IntoView {
    view! {
        <section class="empty">
            <svg class="empty-mark" viewBox="0 0 48 48" width="48" height="48" aria-hidden="true">
                <path d="M24 30V18M18 42h12M20 42l2-12h4l2 12M15.5 25.5a12 12 0 0 1 0-15M32.5 25.5a12 12 0 0 0 0-15M10 31a20 20 0 0 1 0-26M38 31a20 20 0 0 0 0-26"></path>
                <circle cx="24" cy="18" r="3"></circle>
            </svg>
            <h2>{title}</h2>
            {children()}
        </section>
    }
    .into_any()
}

/// No call at all: how to make the first one.
#[component]
pub(crate) fn FirstCall(
    /// Base URL that SDKs are pointed at.
    #[prop(into)]
    gateway_url: String,
) -> impl IntoView {
    let snippet = format!(
        "from openai import OpenAI\n\nclient = OpenAI(\n    base_url=\"{gateway_url}\",\n    api_key=\"ct-…\",  # create one under Keys\n)\nclient.chat.completions.create(\n    model=\"…\",  # any name under Models\n    messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}],\n)"
    );
    view! {
        <Empty title="No calls in this range">
            <p>
                "Point an OpenAI SDK at the gateway and its calls appear here within seconds. "
                "Have they been made already? Widen the time range or clear the filters."
            </p>
            <div class="snippet">
                <pre>
                    <code>{snippet.clone()}</code>
                </pre>
                <CopyButton text=snippet label="Copy"/>
            </div>
        </Empty>
    }
    .into_any()
}
