//! Requests to our own server from the browser. The session cookie goes along; an expired session leads to the sign-in
//! page and back.

use super::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// GET `path`.
pub(super) async fn get<T: DeserializeOwned>(path: &str) -> Result<T, Problem> {
    request("GET", path, None).await
}

/// POST `body` as JSON to `path`.
pub(super) async fn post<T: DeserializeOwned>(path: &str, body: &impl Serialize) -> Result<T, Problem> {
    let body = serde_json::to_string(body)
        .map_err(|error| Problem::unreachable(format!("the request could not be written: {error}")))?;
    request("POST", path, Some(body)).await
}

#[cfg(feature = "hydrate")]
async fn request<T: DeserializeOwned>(method: &str, path: &str, body: Option<String>) -> Result<T, Problem> {
    // Values of the browser cannot leave its one thread; the wrapper states that they do not.
    let (status, text) = send_wrapper::SendWrapper::new(fetch(method, path, body)).await?;
    if status == 401 {
        sign_in_again();
    }
    if (200..300).contains(&status) {
        return serde_json::from_str(&text)
            .map_err(|error| Problem::unreachable(format!("the answer could not be read: {error}")));
    }
    Err(refusal(status, &text))
}

#[cfg(feature = "hydrate")]
async fn fetch(method: &str, path: &str, body: Option<String>) -> Result<(u16, String), Problem> {
    use wasm_bindgen::{JsCast, JsValue};
    use wasm_bindgen_futures::JsFuture;
    let failed = |_: JsValue| Problem::unreachable("the console's server cannot be reached");
    let init = web_sys::RequestInit::new();
    init.set_method(method);
    if let Some(body) = body {
        let headers = web_sys::Headers::new().map_err(failed)?;
        headers.set("content-type", "application/json").map_err(failed)?;
        init.set_headers(&headers);
        init.set_body(&JsValue::from_str(&body));
    }
    let window = web_sys::window().ok_or_else(|| failed(JsValue::NULL))?;
    let response: web_sys::Response = JsFuture::from(window.fetch_with_str_and_init(path, &init))
        .await
        .and_then(JsCast::dyn_into)
        .map_err(failed)?;
    let text = JsFuture::from(response.text().map_err(failed)?).await.map_err(failed)?;
    Ok((response.status(), text.as_string().unwrap_or_default()))
}

#[cfg(feature = "hydrate")]
fn sign_in_again() {
    if let Some(location) = web_sys::window().map(|w| w.location()) {
        let here = location.pathname().unwrap_or_default() + &location.search().unwrap_or_default();
        let next: String = form_urlencoded::byte_serialize(here.as_bytes()).collect();
        // A refusal to navigate leaves the error on the page, which says the same.
        let _ = location.assign(&format!("/sign-in?next={next}"));
    }
}

#[cfg(not(feature = "hydrate"))]
async fn request<T: DeserializeOwned>(
    _method: &str,
    _path: &str,
    _body: Option<String>,
) -> Result<T, Problem> {
    // Neither side was chosen: the crate is only being checked.
    std::future::ready(Err(refusal(0, ""))).await
}

fn refusal(status: u16, text: &str) -> Problem {
    let body: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let message =
        body["error"]["message"].as_str().map_or_else(|| format!("HTTP status {status}"), str::to_owned);
    Problem { status, message, param: body["error"]["param"].as_str().map(str::to_owned) }
}
