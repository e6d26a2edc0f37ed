//! A model by its name on a model hub: fetched once into the data directory, from there on read like any other directory of weights.
//!
//! A directory under its final name is whole: files are fetched into another one, checked against the length and, where the Hub tells it, the SHA-256
//! of what they should be, and renamed into place together. All are of one commit, that of the first. What is in place is used without any
//! request, so a model whose revision is a branch stays as it was when it was fetched.

mod id;
#[cfg(test)]
mod tests;

pub use id::{HubId, InvalidHubId};

use crate::https::{self, HttpsClient, chain};
use anyhow::{Context, anyhow, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// What an embedder is made of, with the most bytes of each. The last one is not in every model.
const FILES: [(&str, u64); 4] =
    [("config.json", MIB), ("tokenizer.json", 64 * MIB), ("model.safetensors", 4096 * MIB), (POOLING, MIB)];
const POOLING: &str = "1_Pooling/config.json";
const MIB: u64 = 1024 * 1024;
/// The environment variable that names another hub than the public one, as the Hub's own tools have it.
pub const ENDPOINT: &str = "HF_ENDPOINT";
/// The public one.
pub const PUBLIC: &str = "https://huggingface.co";
/// How long all files may take: a role that has not answered after three minutes is taken for one that hangs.
const DEADLINE: Duration = Duration::from_mins(2);
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// From the Hub to where its files lie.
const MOST_REDIRECTS: usize = 5;

/// The directory of a model's files in `data_dir`; where it is not there, they are fetched from `endpoint`.
pub async fn model(id: &HubId, endpoint: &str, data_dir: &Path) -> anyhow::Result<PathBuf> {
    let models = data_dir.join("models");
    let place = models.join(id.directory());
    if is_whole(&place) {
        return Ok(place);
    }
    tracing::info!(model = %id, endpoint, directory = %place.display(), "the model is fetched");
    let remedy = || {
        format!(
            "the model {id} cannot be fetched. Where there is no network, put its config.json, tokenizer.json and \
             model.safetensors into {} or name another directory in inference.model_dir; {ENDPOINT} names another hub",
            place.display()
        )
    };
    let work = models.join(format!(".fetch-{}", control::secrets::random_hex::<8>()?));
    let fetched = tokio::time::timeout(DEADLINE, fetch(id, endpoint, &work)).await;
    let fetched = fetched.unwrap_or_else(|_| Err(anyhow!("it took longer than {} s", DEADLINE.as_secs())));
    let placed = fetched.and_then(|()| put(&work, &place));
    // Of no use any more, whatever happened; after success it is not there.
    let _ = std::fs::remove_dir_all(&work);
    placed.with_context(remedy)?;
    Ok(place)
}

fn is_whole(place: &Path) -> bool {
    FILES.iter().all(|(file, _)| *file == POOLING || place.join(file).is_file())
}

/// Renames `work` to `place` in one step, so that nobody ever finds half a model.
fn put(work: &Path, place: &Path) -> anyhow::Result<()> {
    if let Err(error) = std::fs::rename(work, place) {
        // Another process may have been quicker; what is there must be whole.
        ensure!(is_whole(place), "{} cannot be put in place: {error}", place.display());
    }
    Ok(())
}

async fn fetch(id: &HubId, endpoint: &str, work: &Path) -> anyhow::Result<()> {
    let client = https::client().context("the HTTP client")?;
    let written = |error: io::Error| anyhow!("{}: {error}", work.display());
    tokio::fs::create_dir_all(work.join(POOLING).parent().unwrap_or(work)).await.map_err(written)?;
    let mut revision = id.revision().to_owned();
    for (file, most) in FILES {
        let url = format!("{}/{}/resolve/{revision}/{file}", endpoint.trim_end_matches('/'), id.repository());
        let got = get(&client, &url).await.with_context(|| format!("{file} from {url}"))?;
        let status = got.response.status();
        if status == StatusCode::NOT_FOUND && file == POOLING {
            continue;
        }
        if !status.is_success() {
            bail!("{file} from {url}: status {}: {}", status.as_u16(), reason(status));
        }
        // The other files are of the same commit, whatever becomes of the branch meanwhile.
        if let Some(commit) = &got.promised.commit {
            revision.clone_from(commit);
        }
        save(got, &work.join(file), most).await.with_context(|| format!("{file} from {url}"))?;
    }
    tracing::info!(model = %id, commit = revision, "the model was fetched");
    Ok(())
}

fn reason(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "there is no such model, or it is not open to everybody",
        404 => "there is no such model, revision or file",
        429 | 500.. => "the hub has no answer now, a later start may have one",
        _ => "the hub refuses it",
    }
}

/// What the Hub says of a file, before it sends elsewhere for the bytes.
#[derive(Debug, Default)]
struct Promised {
    etag: Option<String>,
    size: Option<u64>,
    commit: Option<String>,
}

impl Promised {
    /// Takes over what the headers of one more answer say; the first that says something counts.
    fn learn(&mut self, headers: &HeaderMap) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let etag = text("x-linked-etag").map(|etag| etag.trim_start_matches("W/").trim_matches('"'));
        self.etag = self.etag.take().or_else(|| etag.map(str::to_owned));
        self.size = self.size.or_else(|| text("x-linked-size")?.parse().ok());
        let commit = text("x-repo-commit").filter(|commit| commit.bytes().all(|b| b.is_ascii_hexdigit()));
        self.commit = self.commit.take().or_else(|| commit.map(str::to_owned));
    }
}

struct Got {
    response: Response<Incoming>,
    promised: Promised,
}

/// Asks for a file, wherever the hub sends us.
async fn get(client: &HttpsClient, url: &str) -> anyhow::Result<Got> {
    let mut uri: Uri = url.parse().with_context(|| format!("{url:?} is no URL; see {ENDPOINT}"))?;
    let mut promised = Promised::default();
    for _ in 0..=MOST_REDIRECTS {
        let request = Request::get(uri.clone())
            .header(header::USER_AGENT, concat!("control-tower/", env!("CARGO_PKG_VERSION")))
            // What is hashed and counted is the file.
            .header(header::ACCEPT_ENCODING, "identity")
            .body(Full::new(Bytes::new()))?;
        let response = tokio::time::timeout(SILENCE, client.request(request)).await;
        let response = response.map_err(|_| anyhow!("no answer within {} s", SILENCE.as_secs()))?;
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let response = response.map_err(|error| anyhow!("{host} cannot be reached: {}", chain(&error)))?;
        promised.learn(response.headers());
        if !response.status().is_redirection() {
            return Ok(Got { response, promised });
        }
        let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
        uri = redirected(&uri, to.unwrap_or_default())?;
    }
    bail!("more than {MOST_REDIRECTS} redirects")
}

/// Where a redirect leads: a path of the same server, or another one, but never from TLS to none.
fn redirected(from: &Uri, to: &str) -> anyhow::Result<Uri> {
    let uri: Uri = to.parse().with_context(|| format!("a redirect to {to:?}"))?;
    let mut parts = uri.into_parts();
    if parts.authority.is_none() {
        parts.authority = from.authority().cloned();
        parts.scheme = from.scheme().cloned();
    }
    let uri = Uri::from_parts(parts).with_context(|| format!("a redirect to {to:?}"))?;
    ensure!(
        from.scheme_str() != Some("https") || uri.scheme_str() == Some("https"),
        "a redirect from https to {to:?}"
    );
    Ok(uri)
}

/// Writes the file and makes sure that it is the one that was promised.
async fn save(got: Got, to: &Path, most: u64) -> anyhow::Result<()> {
    let Got { response, promised } = got;
    let length = response.headers().get(header::CONTENT_LENGTH);
    let length: Option<u64> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let size = promised.size.or(length);
    ensure!(size.unwrap_or(0) <= most, "{} bytes, expected {most} at most", size.unwrap_or(0));
    let mut file = tokio::fs::File::create(to).await.with_context(|| to.display().to_string())?;
    let (mut written, mut digest) = (0_u64, Sha256::new());
    let mut body = response.into_body();
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame()).await;
        let frame = frame.map_err(|_| anyhow!("nothing came for {} s", SILENCE.as_secs()))?;
        let Some(frame) = frame else { break };
        let frame =
            frame.map_err(|error| anyhow!("it broke off after {written} bytes: {}", chain(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        written += data.len() as u64;
        ensure!(written <= most, "more than {most} bytes");
        digest.update(&data);
        file.write_all(&data).await.with_context(|| to.display().to_string())?;
    }
    file.sync_all().await.with_context(|| to.display().to_string())?;
    if let Some(size) = size {
        ensure!(written == size, "{written} bytes came, expected {size}");
    }
    // Of files in large file storage the tag is their SHA-256; that of others is git's own.
    if let Some(expected) = promised.etag.filter(|etag| etag.len() == 64) {
        let found = hex::encode(digest.finalize());
        ensure!(found.eq_ignore_ascii_case(&expected), "its SHA-256 is {found}, expected {expected}");
    }
    Ok(())
}
