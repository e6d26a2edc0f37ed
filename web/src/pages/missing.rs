//! No page at this address.

use crate::api::Problem;
use crate::components::failure::Failure;
use leptos::prelude::*;
use leptos_meta::Title;

/// Answers 404.
#[component]
pub(crate) fn Missing() -> impl IntoView {
    let problem =
        Problem { status: 404, message: String::from("There is no page at this address."), param: None };
    view! {
        <Title text="Not found · Control Tower"/>
        <main id="main" class="alone">
            <Failure problem/>
        </main>
    }
    .into_any()
}
