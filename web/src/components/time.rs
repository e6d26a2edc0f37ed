//! A point in time: in the viewer's zone once the browser knows it, exact UTC in the title.

use crate::when;
use leptos::prelude::*;

/// Whether times are already shown in the viewer's zone. False on the server and while the browser takes over, so that
/// both render the same text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Zone(pub(crate) RwSignal<bool>);

/// Sets [`Zone`] up; it turns local after hydration.
pub(crate) fn provide_zone() {
    let local = RwSignal::new(false);
    provide_context(Zone(local));
    Effect::new(move |_| local.set(true));
}

fn is_local() -> bool {
    use_context::<Zone>().is_some_and(|zone| zone.0.get())
}

#[cfg(feature = "hydrate")]
fn offset_minutes(ms: i64) -> i64 {
    #[expect(clippy::cast_precision_loss, reason = "JavaScript's dates are doubles")]
    let date = js_sys::Date::new(&wasm_bindgen::JsValue::from_f64(ms as f64));
    #[expect(clippy::cast_possible_truncation, reason = "minutes of a zone are small")]
    let west = date.get_timezone_offset() as i64;
    -west
}

#[cfg(not(feature = "hydrate"))]
const fn offset_minutes(_ms: i64) -> i64 {
    0
}

fn offset(ms: i64) -> i64 {
    if is_local() { offset_minutes(ms) } else { 0 }
}

/// Day and time to the second.
#[component]
pub(crate) fn Time(
    /// Milliseconds since the epoch.
    ms: i64,
) -> impl IntoView {
    view! {
        <time class="num" datetime=when::rfc3339(ms) title=when::exact_utc(ms)>
            {move || when::day_and_second(ms, offset(ms))}
        </time>
    }
    .into_any()
}

/// The day alone.
#[component]
pub(crate) fn Day(
    /// Milliseconds since the epoch.
    ms: i64,
) -> impl IntoView {
    view! {
        <time class="num" datetime=when::rfc3339(ms) title=when::exact_utc(ms)>
            {move || when::day(ms, offset(ms))}
        </time>
    }
    .into_any()
}
