//! The question that stands in the page's URL.

use crate::query::Query;
use leptos::prelude::*;
use leptos_router::hooks::use_location;

/// The part of the URL after the path, `?` included, as a signal. It stands still while the URL is that of another page:
/// between the click on a link and the new page, the old page must not take the new question for its own.
pub(crate) fn use_search(own: fn(&str) -> bool) -> Memo<String> {
    let location = use_location();
    Memo::new(move |before: Option<&String>| {
        let search = location.search.get();
        match before {
            Some(before) if !location.pathname.with(|path| own(path)) => before.clone(),
            _ if search.is_empty() || search.starts_with('?') => search,
            _ => format!("?{search}"),
        }
    })
}

/// The question in the URL; the default one where it cannot be understood (the page then shows why).
pub(crate) fn use_query(search: Memo<String>) -> Memo<Query> {
    Memo::new(move |_| search.with(|s| Query::parse(s).unwrap_or_default()))
}
