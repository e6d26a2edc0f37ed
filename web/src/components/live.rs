//! Live refresh: while it is on, the page reads its data again every five seconds. The choice is not part of the URL.

use leptos::prelude::*;
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(5);

/// A switch that calls `refresh` while it is on. It needs a script, so it only shows where one runs.
#[component]
pub(crate) fn LiveSwitch(
    /// Reads the page's data again.
    refresh: Callback<()>,
) -> impl IntoView {
    let on = RwSignal::new(false);
    Effect::new(move |running: Option<Option<IntervalHandle>>| {
        if let Some(handle) = running.flatten() {
            handle.clear();
        }
        if on.get() { set_interval_with_handle(move || refresh.run(()), PERIOD).ok() } else { None }
    });
    // The page may be left while the switch is on.
    on_cleanup(move || on.set(false));
    let toggle = move |_| {
        on.update(|on| *on = !*on);
        if on.get_untracked() {
            refresh.run(());
        }
    };
    view! {
        <button
            type="button"
            class="button live scripted"
            role="switch"
            aria-checked=move || on.get().to_string()
            title="Read again every 5 seconds"
            on:click=toggle
        >
            <i class="pulse" aria-hidden="true"></i>
            "Live"
        </button>
    }
    .into_any()
}
