//! Between a page being rendered and the request that asked for it.

use super::identity::Viewer;
use crate::api::Problem;
use leptos::prelude::use_context;

/// Who the page is rendered for.
pub fn viewer() -> Result<Viewer, Problem> {
    use_context::<http::request::Parts>()
        .and_then(|parts| parts.extensions.get::<Viewer>().cloned())
        .ok_or_else(|| super::errors::signed_out().into())
}
