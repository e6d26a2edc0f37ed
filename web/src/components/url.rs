//! The question that stands in the page's URL.

use crate::query::Query;
use leptos::prelude::*;
use leptos_router::hooks::use_location;

/// The part of the URL after the path, `?` included, as a signal.
pub(crate) fn use_search() -> Memo<String> {
    let location = use_location();
    Memo::new(move |_| {
        let search = location.search.get();
        if search.is_empty() || search.starts_with('?') { search } else { format!("?{search}") }
    })
}

/// The question in the URL; the default one where it cannot be understood (the page then shows why).
pub(crate) fn use_query() -> Memo<Query> {
    let search = use_search();
    Memo::new(move |_| search.with(|s| Query::parse(s).unwrap_or_default()))
}
