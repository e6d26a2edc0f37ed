//! Signing in. A plain form, posted to the server, so it works before and without scripts.

use crate::components::frame::Mark;
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;

/// The sign-in form. `?error=` says why the last try failed, `?next=` where to go afterwards.
#[component]
pub(crate) fn SignInPage() -> impl IntoView {
    let query = use_query_map();
    let next = move || query.with(|q| q.get("next").unwrap_or_default());
    let user = move || query.with(|q| q.get("user").unwrap_or_default());
    let error = move || {
        let words = match query.with(|q| q.get("error")).as_deref() {
            None => return None,
            Some("credentials") => "Name or password is not right.",
            Some("throttled") => "Too many tries. Wait a minute, then try again.",
            Some("origin") => "The form came from another site and was not accepted. Try again from here.",
            Some("unavailable") => "The control database cannot be reached right now. Try again shortly.",
            Some(_) => "Sign-in failed. Try again.",
        };
        Some(view! { <p class="form-error" role="alert">{words}</p> })
    };
    view! {
        <Title text="Sign in · Control Tower"/>
        <main id="main" class="sign-in">
            <form class="card stack" method="post" action="/sign-in">
                <div class="brand">
                    <Mark/>
                    <span>"Control Tower"</span>
                </div>
                <h1>"Sign in"</h1>
                {error}
                <input type="hidden" name="next" value=next/>
                <label class="field">
                    <span>"Name"</span>
                    <input name="username" value=user autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus/>
                </label>
                <label class="field">
                    <span>"Password"</span>
                    <input name="password" type="password" autocomplete="current-password" required/>
                </label>
                <button class="button primary wide">"Sign in"</button>
                <p class="quiet-note">
                    "The first administrator’s name and password are in " <code>"bootstrap.json"</code>
                    " in the data directory."
                </p>
            </form>
        </main>
    }
    .into_any()
}
