//! Signing in and out: plain form posts that answer with a redirect, so that they work without scripts and a reload never
//! repeats them.

use super::AppState;
use super::origin;
use super::session;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use contracts::Timestamp;
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use std::time::Duration;

/// The form's fields.
#[derive(Deserialize)]
pub(crate) struct Credentials {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

/// `POST /sign-in`.
pub(crate) async fn sign_in(
    State(state): State<AppState>,
    headers: HeaderMap,
    Form(form): Form<Credentials>,
) -> Response {
    let now = state.parts.clock.now();
    // A forged sign-in would leave the victim working in the attacker's account.
    if !origin::is_ours(&headers, state.parts.config.public_url.as_deref()) {
        return back(&form, "origin");
    }
    let Some(begun) = state.throttle.begin(&form.username, now).await else {
        count(&state, "throttled");
        return back(&form, "throttled");
    };
    let user = match state.parts.control.users().verify(&form.username, &form.password).await {
        Ok(Some(user)) => user,
        Ok(None) => {
            begun.missed(state.parts.clock.now());
            count(&state, "refused");
            tracing::warn!("a sign-in was refused");
            return back(&form, "credentials");
        }
        Err(error) => return failed(&state, &form, &error),
    };
    begun.passed();
    let lasts = Duration::from_secs(u64::from(state.parts.config.session_hours) * 3_600);
    match open_session(&state, &user.id, lasts, now).await {
        Ok(cookie) => {
            count(&state, "ok");
            tracing::info!(user = user.username, "signed in");
            ([(header::SET_COOKIE, cookie)], Redirect::to(local_path(&form.next))).into_response()
        }
        Err(error) => failed(&state, &form, &error),
    }
}

/// `POST /sign-out`.
pub(crate) async fn sign_out(State(state): State<AppState>, headers: HeaderMap) -> Response {
    // Signing somebody out from elsewhere is a nuisance, no more; it is refused all the same.
    if !origin::is_ours(&headers, state.parts.config.public_url.as_deref()) {
        return Redirect::to("/").into_response();
    }
    let secure = state.parts.config.is_secure();
    if let Some(token) = session::token(&headers, secure)
        && let Err(error) = state.parts.control.sessions().delete(token).await
    {
        // The cookie goes anyway; the session itself ends by its time.
        tracing::error!(error = &error as &dyn std::error::Error, "a session could not be deleted");
    }
    ([(header::SET_COOKIE, session::clear(secure))], Redirect::to("/sign-in")).into_response()
}

async fn open_session(
    state: &AppState,
    user_id: &str,
    lasts: Duration,
    now: Timestamp,
) -> Result<String, control::ControlError> {
    let created = state.parts.control.sessions().create(user_id, lasts, now).await?;
    Ok(session::set(&created.token, lasts.as_secs(), state.parts.config.is_secure()))
}

fn failed(state: &AppState, form: &Credentials, error: &control::ControlError) -> Response {
    count(state, "failed");
    tracing::error!(error = error as &dyn std::error::Error, "a sign-in could not be checked");
    back(form, "unavailable")
}

/// Back to the form with the reason, the name and the goal, never the password.
fn back(form: &Credentials, error: &str) -> Response {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("error", error);
    if !form.username.is_empty() {
        query.append_pair("user", &form.username.chars().take(128).collect::<String>());
    }
    if local_path(&form.next) != "/" {
        query.append_pair("next", local_path(&form.next));
    }
    let mut response = Redirect::to(&format!("/sign-in?{}", query.finish())).into_response();
    response.headers_mut().insert("x-control-tower-sign-in", HeaderValue::from_static("refused"));
    response
}

/// Only a path of ours is followed after the sign-in: `//host`, `/\host` and whole URLs would lead elsewhere.
fn local_path(next: &str) -> &str {
    let is_local = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && next.bytes().all(|b| b.is_ascii_graphic())
        && next.len() <= 2_000
        && !next.starts_with("/sign-");
    if is_local { next } else { "/" }
}

fn count(state: &AppState, outcome: &'static str) {
    state.counts.sign_ins.get_or_create(&vec![("outcome", outcome)]).inc();
}

#[cfg(test)]
mod tests {
    use super::local_path;

    #[test]
    fn only_our_own_paths_are_followed() {
        assert_eq!(local_path("/calls?model=a"), "/calls?model=a");
        for elsewhere in
            ["", "//evil.example", "/\\evil.example", "https://evil.example", "/sign-out", "/a\r\nb: c"]
        {
            assert_eq!(local_path(elsewhere), "/", "{elsewhere:?}");
        }
    }
}
