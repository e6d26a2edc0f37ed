//! What stands where a read failed: what happened, and what the viewer can do.

use crate::api::Problem;
use leptos::prelude::*;

/// An error in place of a page's content. On the server it also gives the page its HTTP status.
#[component]
pub(crate) fn Failure(
    /// What went wrong.
    problem: Problem,
) -> impl IntoView {
    answer_with(problem.status);
    let (title, advice) = match problem.status {
        400 => (
            "This address asks for something unclear",
            "Correct the parameter, or start over from the page without it.",
        ),
        401 => ("You are signed out", "Sign in again to go on."),
        403 => ("Not yours to see", "Ask an administrator of this console for access."),
        404 => ("Not found", "It may have passed its retention, or belong to a tenant that you cannot see."),
        0 => ("No answer", "Check that the console is running, then try again."),
        _ => (
            "The data cannot be read right now",
            "Nothing is lost: calls are kept until the store is back. Try again shortly.",
        ),
    };
    view! {
        <section class="empty failure" role="alert">
            <h2>{title}</h2>
            <p class="failure-message">{problem.message}</p>
            <p>{advice}</p>
            <p class="actions">
                <a class="button" href="" rel="external">"Try again"</a>
                <a class="button quiet" href="/" rel="external">"Overview"</a>
            </p>
        </section>
    }
    .into_any()
}

#[cfg(feature = "ssr")]
fn answer_with(status: u16) {
    if let (Some(response), Ok(status)) =
        (use_context::<leptos_axum::ResponseOptions>(), http::StatusCode::from_u16(status))
    {
        response.set_status(status);
    }
}

#[cfg(not(feature = "ssr"))]
const fn answer_with(_status: u16) {}
