//! Asking deployments how they are: active probes, and the load that their servers and the exporters of their GPUs tell.

use super::ModelPool;
use crate::app::App;
use bytes::Bytes;
use contracts::policy::pool::{Deployment, Probe};
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use pool::Source;
use pool::load::Sample;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How often it is looked who is due.
const TICK: Duration = Duration::from_millis(100);
/// An exporter that takes longer says nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most of its answer that is read: a host with many GPUs tells of them all.
const MOST_BYTES: usize = 4 << 20;

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// What is asked of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Question {
    Probe,
    Load,
    Gpus,
}

/// Asks all deployments, each as often as its policy says.
pub(crate) async fn watch(app: Arc<App>, tls: rustls::ClientConfig) {
    let client = client(tls);
    let mut asked: HashMap<(String, String, Question), Instant> = HashMap::new();
    loop {
        tokio::time::sleep(TICK).await;
        let now = Instant::now();
        let mut live = HashMap::with_capacity(asked.len());
        for (name, pool) in app.pools.known(&app.policy, &app.policy.load_full()).all() {
            for deployment in &pool.complete.deployments {
                for (question, every) in questions(pool, deployment) {
                    let key = (name.to_string(), deployment.id.to_string(), question);
                    let last = asked.get(&key).copied();
                    if last.is_some_and(|last| now.duration_since(last) < every) {
                        live.extend(last.map(|last| (key, last)));
                        continue;
                    }
                    live.insert(key, now);
                    tokio::spawn(put(
                        app.clone(),
                        client.clone(),
                        pool.clone(),
                        deployment.clone(),
                        question,
                    ));
                }
            }
        }
        asked = live;
    }
}

/// What a deployment is to be asked, and how often.
fn questions(pool: &ModelPool, deployment: &Deployment) -> impl Iterator<Item = (Question, Duration)> {
    let every = |question, ms| (question, Duration::from_millis(ms));
    [
        pool.complete.probe.as_ref().map(|probe| every(Question::Probe, probe.every_ms)),
        deployment.load.as_ref().map(|load| every(Question::Load, load.every_ms)),
        deployment.gpu.as_ref().map(|gpu| every(Question::Gpus, gpu.every_ms)),
    ]
    .into_iter()
    .flatten()
}

async fn put(app: Arc<App>, client: Http, pool: Arc<ModelPool>, deployment: Deployment, question: Question) {
    let told = |source, sample| pool.pool.told(&deployment.id, source, sample, Instant::now().into_std());
    match question {
        Question::Probe => {
            let Some(probe) = &pool.complete.probe else { return };
            let well = is_well(&app, &client, &pool, &deployment, probe).await;
            pool.pool.probed(&deployment.id, well, Instant::now().into_std());
        }
        Question::Load => {
            let Some(load) = &deployment.load else { return };
            if let Some(text) = get(&client, &load.url, PATIENCE).await {
                told(Source::Server, Sample::of_server(&text, load.kind, &deployment.upstream_model));
            }
        }
        Question::Gpus => {
            let Some(gpu) = &deployment.gpu else { return };
            if let Some(text) = get(&client, &gpu.url, PATIENCE).await {
                told(Source::Gpus, Sample::of_gpus(&text, gpu.kind, &gpu.devices));
            }
        }
    }
}

/// Whether the probe's path, at the root of the deployment's origin, is answered with success in time. It is asked for as calls are:
/// with the provider's credential.
async fn is_well(app: &App, client: &Http, pool: &ModelPool, deployment: &Deployment, probe: &Probe) -> bool {
    let target = pool.model(deployment).and_then(|model| app.upstreams.target(&model.provider).ok());
    let request = target.and_then(|target| target.probe(&probe.path, app.clock.now()).ok());
    let Some(request) = request else { return false };
    answer(client, request, Duration::from_millis(probe.timeout_ms)).await.is_some()
}

/// The text at `url`, if it is answered with success in time.
async fn get(client: &Http, url: &str, patience: Duration) -> Option<String> {
    answer(client, Request::get(url).body(Full::default()).ok()?, patience).await
}

/// The text that `request` is answered with, if that is success and comes in time.
async fn answer(client: &Http, request: Request<Full<Bytes>>, patience: Duration) -> Option<String> {
    let answered = timeout(patience, async {
        let answer = client.request(request).await.ok()?;
        let is_good = answer.status().is_success();
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await.ok()?.to_bytes();
        is_good.then(|| String::from_utf8_lossy(&body).into_owned())
    });
    answered.await.ok().flatten()
}

fn client(tls: rustls::ClientConfig) -> Http {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.enforce_http(false);
    http.set_connect_timeout(Some(PATIENCE));
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
    Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector)
}
