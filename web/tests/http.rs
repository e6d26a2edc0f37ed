//! The console over HTTP: who gets in, what they see, what they may change, and what a wrong request is told.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "prepared figures"
)]

#[path = "http/keys.rs"]
mod keys;
mod support;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use contracts::Timestamp;
use http_body_util::BodyExt;
use runtime::Clock;
use serde_json::Value;
use std::time::Duration;
use support::figures::Figures;
use support::{PASSWORD, Stage, stage};
use tower::ServiceExt;

const NOW_MS: i64 = 1_795_356_449_120;
const HOST: &str = "console.test";

fn clock() -> Clock {
    Clock::manual(Timestamp::from_unix_millis(NOW_MS))
}

async fn full() -> Stage {
    stage(Figures::days(NOW_MS, 400), clock()).await
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

async fn send(stage: &Stage, request: Request<Body>) -> Answer {
    let response = web::server::router(&stage.state).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

async fn get(stage: &Stage, path: &str, cookie: &str) -> Answer {
    send(stage, Request::get(path).header(header::COOKIE, cookie).body(Body::empty()).unwrap()).await
}

async fn sign_in(stage: &Stage, user: &str, password: &str) -> Answer {
    let password: String = password.replace(' ', "+");
    let request = Request::post("/sign-in")
        .header(header::HOST, HOST)
        .header(header::ORIGIN, format!("http://{HOST}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(format!("username={user}&password={password}&next=/calls")));
    send(stage, request.unwrap()).await
}

/// The cookie of a fresh session.
async fn session(stage: &Stage, user: &str) -> String {
    let answer = sign_in(stage, user, PASSWORD).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    answer.header(header::SET_COOKIE).split(';').next().unwrap().to_owned()
}

async fn post(stage: &Stage, path: &str, cookie: &str, origin: Option<&str>, body: &str) -> Answer {
    let mut request = Request::post(path)
        .header(header::HOST, HOST)
        .header(header::COOKIE, cookie)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(origin) = origin {
        request = request.header(header::ORIGIN, origin);
    }
    send(stage, request.body(Body::from(body.to_owned())).unwrap()).await
}

const OURS: Option<&str> = Some("http://console.test");
const PAGES: [&str; 4] = ["/", "/calls", "/models", "/keys"];

#[tokio::test]
async fn strangers_are_led_to_the_sign_in_and_back() {
    let stage = full().await;
    let answer = get(&stage, "/calls?model=gpt-4o-mini", "").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.header(header::LOCATION), "/sign-in?next=%2Fcalls%3Fmodel%3Dgpt-4o-mini");
    for path in ["/", "/keys", "/calls/0/0", "/nowhere"] {
        assert_eq!(get(&stage, path, "ct_session=forged").await.status, StatusCode::SEE_OTHER, "{path}");
    }
    for path in ["me", "overview", "calls", "facets", "models", "keys"] {
        let answer = get(&stage, &format!("/api/v1/{path}"), "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.json()["error"]["code"], "not_signed_in");
    }
    let form = get(&stage, "/sign-in?next=%2Fcalls", "").await;
    assert_eq!(form.status, StatusCode::OK);
    assert!(form.text.contains("value=\"/calls\""), "{}", form.text);
}

#[tokio::test]
async fn a_session_is_opened_used_and_closed() {
    let stage = full().await;
    let answer = sign_in(&stage, "Ada", PASSWORD).await;
    assert_eq!((answer.status, answer.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/calls"));
    let cookie = answer.header(header::SET_COOKIE);
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert_eq!(get(&stage, "/api/v1/me", &cookie).await.json()["name"], "ada");
    let out = post(&stage, "/sign-out", &cookie, OURS, "").await;
    assert!(out.header(header::SET_COOKIE).contains("Max-Age=0"));
    assert_eq!(get(&stage, "/api/v1/me", &cookie).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let stage = full().await;
    for _ in 0..5 {
        let answer = sign_in(&stage, "ada", "wrong password").await;
        assert_eq!(answer.header(header::LOCATION), "/sign-in?error=credentials&user=ada&next=%2Fcalls");
        assert!(answer.header(header::SET_COOKIE).is_empty());
    }
    let answer = sign_in(&stage, "ada", PASSWORD).await;
    assert!(
        answer.header(header::LOCATION).contains("error=throttled"),
        "{}",
        answer.header(header::LOCATION)
    );
}

#[tokio::test]
async fn forged_requests_change_nothing() {
    let stage = full().await;
    let cookie = session(&stage, "ada").await;
    let body = r#"{"tenant":"acme","name":"forged"}"#;
    for origin in [None, Some("https://evil.example"), Some("null"), Some("http://console.test.evil.example")]
    {
        let answer = post(&stage, "/api/v1/keys", &cookie, origin, body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{origin:?}");
        assert_eq!(answer.json()["error"]["code"], "wrong_origin");
    }
    let basic = Request::post("/api/v1/keys")
        .header(header::HOST, HOST)
        .header(header::COOKIE, &cookie)
        .header(header::ORIGIN, "https://evil.example")
        .header(header::AUTHORIZATION, "Basic YWRhOmFkYQ==")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body));
    assert_eq!(send(&stage, basic.unwrap()).await.status, StatusCode::FORBIDDEN);
    assert!(stage.control.keys().list(None).await.unwrap().iter().all(|key| key.name != "forged"));
    post(&stage, "/sign-out", &cookie, Some("https://evil.example"), "").await;
    assert_eq!(get(&stage, "/api/v1/me", &cookie).await.status, StatusCode::OK);
    let form = Request::post("/sign-in")
        .header(header::HOST, HOST)
        .header(header::ORIGIN, "https://evil.example")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(format!("username=ada&password={}", PASSWORD.replace(' ', "+"))));
    let answer = send(&stage, form.unwrap()).await;
    assert!(answer.header(header::SET_COOKIE).is_empty());
}

#[tokio::test]
async fn a_viewer_of_one_tenant_never_sees_another() {
    let figures = Figures::days(NOW_MS, 400);
    let foreign = figures.one_of("globex");
    let stage = stage(figures, clock()).await;
    let cookie = session(&stage, "vera").await;
    let all = get(&stage, "/api/v1/calls?limit=500", &cookie).await.json();
    let calls = all["calls"].as_array().unwrap();
    assert!(!calls.is_empty() && calls.iter().all(|call| call["tenant_id"] == "acme"));
    let overview = get(&stage, "/api/v1/overview", &cookie).await.json();
    assert_eq!(overview["by_tenant"].as_array().unwrap().len(), 1);
    for search in ["?tenant=globex", "?tenant=acme&tenant=globex", "?tenant=nobody"] {
        for path in
            ["/api/v1/calls", "/api/v1/overview", "/api/v1/facets", "/api/v1/outcomes", "/api/v1/signals"]
        {
            let answer = get(&stage, &format!("{path}{search}"), &cookie).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}{search}");
            assert_eq!(answer.json()["error"]["param"], "tenant");
        }
        for path in ["/", "/calls"] {
            let answer = get(&stage, &format!("{path}{search}"), &cookie).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}{search}");
        }
    }
    let path = format!("calls/{}/{}", foreign.trace_id, foreign.span_id);
    for path in
        [format!("/api/v1/{path}"), format!("/api/v1/{path}?at={}", foreign.start_ms), format!("/{path}")]
    {
        let answer = get(&stage, &path, &cookie).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(!answer.text.contains(&foreign.request_id));
    }
    for path in
        ["/", "/calls", "/keys", "/models", "/api/v1/keys", "/api/v1/me", "/api/v1/models", "/api/v1/facets"]
    {
        assert!(!get(&stage, path, &cookie).await.text.contains("globex"), "{path}");
    }
    let search = get(&stage, &format!("/api/v1/calls?q={}", foreign.trace_id), &cookie).await.json();
    assert_eq!(search["calls"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_viewer_changes_nothing() {
    let stage = full().await;
    let cookie = session(&stage, "vera").await;
    let key = stage
        .control
        .keys()
        .list(None)
        .await
        .unwrap()
        .into_iter()
        .find(|k| k.tenant.as_str() == "acme")
        .unwrap();
    let create = post(&stage, "/api/v1/keys", &cookie, OURS, r#"{"tenant":"acme","name":"x"}"#).await;
    let revoke = post(&stage, &format!("/api/v1/keys/{}/revoke", key.id), &cookie, OURS, "").await;
    for answer in [create, revoke] {
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert_eq!(answer.json()["error"]["fault"], "policy");
    }
    assert!(stage.control.keys().get(&key.id).await.unwrap().unwrap().revoked_at.is_none());
    assert!(!get(&stage, "/keys", &cookie).await.text.contains("Create key"));
}

#[tokio::test]
async fn programs_come_in_by_admin_key() {
    let stage = full().await;
    let with = |key: &str| {
        Request::get("/api/v1/calls?limit=1")
            .header(header::AUTHORIZATION, format!("Bearer {key}"))
            .body(Body::empty())
            .unwrap()
    };
    let answer = send(&stage, with(&stage.admin_key)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let first = answer.json();
    let next = first["next_cursor"].as_str().unwrap();
    let path = format!("/api/v1/calls?limit=1&cursor={next}");
    let request = Request::get(path)
        .header(header::AUTHORIZATION, format!("Bearer {}", stage.admin_key))
        .body(Body::empty());
    let second = send(&stage, request.unwrap()).await.json();
    assert!(second["calls"][0]["start_ms"].as_i64() < first["calls"][0]["start_ms"].as_i64());
    assert_eq!(send(&stage, with("ct-admin-wrong")).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn every_page_stands_with_data_and_without() {
    let figures = Figures::days(NOW_MS, 400);
    let call = figures.one_of("acme");
    let with = stage(figures, clock()).await;
    let cookie = session(&with, "ada").await;
    for path in
        PAGES.into_iter().map(String::from).chain([format!("/calls/{}/{}", call.trace_id, call.span_id)])
    {
        let page = get(&with, &path, &cookie).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.text.contains("</html>") && page.text.contains("<main"), "{path}");
    }
    let page = get(&with, "/calls?model=gpt-4o-mini&status=ok", &cookie).await.text;
    assert!(page.contains("row-link") && page.contains("gpt-4o-mini"));

    let without = stage(Figures::none(), clock()).await;
    let cookie = session(&without, "ada").await;
    for path in PAGES {
        assert_eq!(get(&without, path, &cookie).await.status, StatusCode::OK, "{path}");
    }
    let page = get(&without, "/", &cookie).await.text;
    assert!(page.contains("http://127.0.0.1:8080/v1"), "the empty page teaches: {page}");
    assert_eq!(get(&without, "/nowhere", &cookie).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_call_without_a_price_is_not_shown_as_free() {
    let figures = Figures::days(NOW_MS, 400);
    let call = figures.unpriced_of("acme");
    let stage = stage(figures, clock()).await;
    let cookie = session(&stage, "ada").await;
    let path = format!("/calls/{}/{}", call.trace_id, call.span_id);
    let page = get(&stage, &path, &cookie).await.text;
    assert!(page.contains(">unpriced</span>"), "{page}");
    assert_eq!(get(&stage, &format!("/api/v1{path}"), &cookie).await.json()["call"]["priced"], false);
    let overview = get(&stage, "/?range=7d", &cookie).await.text;
    assert!(overview.contains("Unpriced calls"), "{overview}");
    let answer = get(&stage, "/api/v1/overview?range=7d", &cookie).await.json();
    assert!(answer["totals"]["unpriced"].as_u64().unwrap() > 0, "{answer}");
}

#[tokio::test]
async fn outcomes_follow_the_rule_that_is_asked_for() {
    let stage = full().await;
    let cookie = session(&stage, "ada").await;
    let of = async |search: &str| get(&stage, &format!("/api/v1/outcomes?{search}"), &cookie).await;
    let default = of("range=7d").await.json();
    assert_eq!(default["attribution"], "trace");
    assert!(default["total"]["overhead_calls"].as_u64().unwrap() > 0, "{default}");
    assert_eq!(of("range=7d&attribution=weighted").await.json()["attribution"], "weighted");
    // Calls with a key that an evaluator asks with are in the cost of judging, whatever the key is called.
    let calls = |answer: &Value| answer["total"]["overhead_calls"].as_u64().unwrap();
    let facets = get(&stage, "/api/v1/facets?range=7d", &cookie).await.json();
    let key = facets["keys"][0].as_str().unwrap().parse().unwrap();
    stage.control.judging().note_key(&key, clock().now()).await.unwrap();
    let without = of("range=7d").await.json();
    assert!(0 < calls(&without) && calls(&without) < calls(&default), "{without}");
    let wrong = of("attribution=first").await;
    assert_eq!(
        (wrong.status, &wrong.json()["error"]["param"]),
        (StatusCode::BAD_REQUEST, &Value::from("attribution"))
    );
    let signals = get(&stage, "/api/v1/signals?range=7d", &cookie).await.json();
    assert!(signals["range"]["from_ms"].is_i64() && signals["hallucination_proxy"].is_null(), "{signals}");
}

#[tokio::test]
async fn golden_signals_say_what_they_rest_on_and_follow_the_filters() {
    let stage = full().await;
    let cookie = session(&stage, "ada").await;
    let judged = async |search: &str| {
        let answer = get(&stage, &format!("/api/v1/signals?range=7d{search}"), &cookie).await.json();
        answer["grounding_judged"].as_u64().unwrap()
    };
    let (all, some) = (judged("").await, judged("&model=gpt-4o-mini").await);
    assert!(0 < some && some < all, "{some} of {all}");
    assert_eq!(judged("&model=nobody-asked-for-this").await, 0);
    let page = get(&stage, "/?range=7d&model=gpt-4o-mini", &cookie).await.text;
    // What was judged has its value and how many; what was not says so and shows no number.
    assert!(page.contains("87.5%") && page.contains(&format!("{some} judged calls")), "{page}");
    assert_eq!(page.matches("no judged calls yet").count(), 1, "{page}");
    for words in ["no retrievals yet", "no tool executions yet", "none of", "median of requests"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let odd = get(&stage, "/api/v1/signals?range=7d&first_token=maybe", &cookie).await;
    assert_eq!((odd.status.as_u16(), odd.json()["error"]["param"].as_str()), (400, Some("first_token")));
    assert!(
        page.contains("Share of an answer&#x27;s claims") || page.contains("Share of an answer's claims")
    );
}

#[tokio::test]
async fn no_page_waits_for_golden_signals() {
    let stage = stage(Figures::days(NOW_MS, 400).with_endless_signals(), clock()).await;
    let cookie = session(&stage, "ada").await;
    let page = get(&stage, "/?range=7d", &cookie).await;
    assert_eq!(page.status, StatusCode::OK);
    for words in ["Loading the golden signals", "being worked out", "median of requests", "Error rate"] {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
    assert!(!page.text.contains("no actions yet"), "nothing is said of what is not known: {}", page.text);
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let stage = full().await;
    let cookie = session(&stage, "ada").await;
    for (search, param) in [
        ("range=2y", "range"),
        ("min_cost=x", "min_cost"),
        ("cursor=1", "cursor"),
        ("modle=a", "modle"),
        ("from=5", "to"),
    ] {
        let answer = get(&stage, &format!("/api/v1/calls?{search}"), &cookie).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["param"]),
            (StatusCode::BAD_REQUEST, &Value::from(param))
        );
        let page = get(&stage, &format!("/calls?{search}"), &cookie).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{search}");
        assert!(page.text.contains(&format!("{param}: ")), "{search}");
    }
    for path in ["/api/v1/calls/xyz/0123456789abcdef", "/calls/xyz/0123456789abcdef"] {
        assert_eq!(get(&stage, path, &cookie).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
    assert_eq!(get(&stage, "/api/v1/nothing", &cookie).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_store_that_is_down_is_said_so() {
    let stage = stage(Figures::down(), clock()).await;
    let cookie = session(&stage, "ada").await;
    let answer = get(&stage, "/api/v1/overview", &cookie).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["error"]["retryable"], true);
    let page = get(&stage, "/", &cookie).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.text.contains("cannot be read right now"));
}

#[tokio::test]
async fn pages_and_assets_carry_their_headers() {
    let stage = full().await;
    let cookie = session(&stage, "ada").await;
    let page = get(&stage, "/", &format!("{cookie}; ct_theme=dark")).await;
    let policy = page.header(header::CONTENT_SECURITY_POLICY);
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert!(
        page.text.contains(&format!("nonce=\"{nonce}\"")) && !policy.contains("script-src 'unsafe-inline'"),
        "{policy}"
    );
    assert!(page.text.contains("data-theme=\"dark\""));
    assert_eq!(page.header(header::CACHE_CONTROL), "no-store");
    assert_eq!(page.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
    let style = page
        .text
        .split("href=\"")
        .map(|rest| rest.split('"').next().unwrap())
        .find(|href| href.starts_with("/assets/console-"))
        .unwrap();
    let asset = get(&stage, style, "").await;
    assert!(asset.header(header::CACHE_CONTROL).contains("immutable") && asset.text.contains("--ground"));
    let again = Request::get(style)
        .header(header::IF_NONE_MATCH, asset.header(header::ETAG))
        .body(Body::empty())
        .unwrap();
    assert_eq!(send(&stage, again).await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(get(&stage, "/assets/none.js", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn sessions_end_by_their_time() {
    let clock = clock();
    let stage = stage(Figures::none(), clock.clone()).await;
    let cookie = session(&stage, "ada").await;
    clock.advance(Duration::from_secs(168 * 3_600 + 1));
    assert_eq!(get(&stage, "/api/v1/me", &cookie).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_document_lists_every_route() {
    let stage = full().await;
    let document = get(&stage, "/api/v1/openapi.json", "").await.json();
    let mut listed: Vec<String> = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        listed.extend(
            methods.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())),
        );
    }
    listed.sort();
    let mut routes: Vec<String> = include_str!("../src/server/api.rs")
        .lines()
        .filter_map(|line| line.trim().strip_prefix(".route(\""))
        .flat_map(|rest| {
            let (path, methods) = rest.split_once('"').unwrap();
            let of = |name: &str| {
                methods.contains(&format!("{name}(")).then(|| format!("{} {path}", name.to_uppercase()))
            };
            [of("get"), of("post")].into_iter().flatten()
        })
        .collect();
    routes.sort();
    assert_eq!(listed, routes);
    assert!(routes.len() >= 9);
}
