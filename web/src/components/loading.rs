//! A read on its way into the page: a skeleton while it is under way, then its content or its failure.

use super::failure::Failure;
use crate::api::Problem;
use leptos::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Shows `resource` through `content`. While it is read again, the old content stays.
pub(crate) fn loaded<T, F>(resource: Resource<Result<T, Problem>>, content: F) -> AnyView
where
    T: Clone + Send + Sync + Serialize + DeserializeOwned + 'static,
    F: Fn(T) -> AnyView + Clone + Send + Sync + 'static,
{
    view! {
        <Transition fallback=skeleton>
            {move || {
                let content = content.clone();
                Suspend::new(async move {
                    match resource.await {
                        Ok(answer) => content(answer),
                        Err(problem) => view! { <Failure problem/> }.into_any(),
                    }
                })
            }}
        </Transition>
    }
    .into_any()
}

fn skeleton() -> impl IntoView {
    view! {
        <div class="skeleton" aria-busy="true" aria-label="Loading">
            <div></div>
            <div></div>
            <div></div>
        </div>
    }
    .into_any()
}
