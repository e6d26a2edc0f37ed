//! `control-tower top`: what goes on in the gateways, once or for as long as somebody looks.
//!
//! The console is asked, which asks all gateways; where there is none, a gateway tells of itself. Both answer at the same path.

use crate::output::say;
use crate::up::Bootstrap;
use anyhow::{Context, bail};
use clap::Args;
use contracts::live::{GatewayAnswer, GatewayLive, Live, PATH};
use http::{HeaderValue, StatusCode};
use runtime::{RoleClient, Shutdown, Silence};
use serde_json::Value;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use top::{News, Pane};

/// The data directory that is meant when none is named.
pub(crate) const DEFAULT_DIR: &str = "data";
/// Characters of a line where nobody says how wide the screen is.
pub(crate) const WIDTH: usize = 120;
/// The console waits 2 s for gateways.
const PATIENCE: Duration = Duration::from_secs(5);
/// From one look to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// `control-tower top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// The directory of a tower started with `up`: address and admin key are taken from its `bootstrap.json`.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR, env = "CONTROL_TOWER_DATA_DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    whom: Whom,
    /// Look once, print what is seen, and end.
    #[arg(long)]
    once: bool,
    /// Print JSON.
    #[arg(long, requires = "once")]
    json: bool,
}

/// Who is asked, with which key.
#[derive(Debug, Args)]
pub(crate) struct Whom {
    /// Base URL of the console, or of a gateway; the tower's otherwise.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Admin key; the tower's otherwise, which is for the tower's own URLs alone.
    #[arg(long, value_name = "KEY", env = "CONTROL_TOWER_ADMIN_KEY", hide_env_values = true)]
    admin_key: Option<String>,
}

/// Asks what goes on.
#[derive(Debug)]
pub(crate) struct Watcher {
    client: RoleClient,
    /// The first that is there is asked.
    urls: Vec<String>,
    key: HeaderValue,
}

impl Whom {
    /// Somebody who asks them, or the tower of `dir`.
    pub(crate) fn watcher(&self, dir: &Path) -> anyhow::Result<Watcher> {
        // What is said here is enough; otherwise the tower says the rest.
        let bootstrap = match (&self.url, &self.admin_key) {
            (Some(_), Some(_)) => None,
            _ => Bootstrap::read(dir)?,
        };
        let nobody = || {
            format!(
                "no tower was ever up on {}: give its --data-dir, or --url and --admin-key",
                dir.display()
            )
        };
        let urls = match (&self.url, &bootstrap) {
            (Some(url), _) => vec![url.clone()],
            (None, Some(tower)) => vec![tower.console_url.clone(), tower.gateway_url.clone()],
            (None, None) => bail!(nobody()),
        };
        // The tower's key is for the tower alone: whoever else is asked would learn it.
        let own = bootstrap.as_ref().filter(|tower| self.url.as_deref().is_none_or(|url| is_of(url, tower)));
        let key = match (&self.admin_key, own, &self.url) {
            (Some(key), ..) => key,
            (None, Some(tower), _) => &tower.admin_key,
            (None, None, Some(url)) if bootstrap.is_some() => {
                bail!(
                    "{url} is not of the tower on {}, whose key is for it alone: give --admin-key",
                    dir.display()
                )
            }
            (None, None, _) => bail!(nobody()),
        };
        let mut key = HeaderValue::try_from(format!("Bearer {key}"))
            .context("--admin-key: not valid: expected ct-admin- and hex digits")?;
        key.set_sensitive(true);
        let urls = urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        Ok(Watcher { client: RoleClient::new(runtime::tls::client_config("", None)?), urls, key })
    }
}

/// Whether `url` is the console or the gateway of `tower`.
fn is_of(url: &str, tower: &Bootstrap) -> bool {
    let url = url.trim_end_matches('/');
    [&tower.console_url, &tower.gateway_url].iter().any(|own| own.trim_end_matches('/') == url)
}

impl Watcher {
    /// Who is asked first.
    pub(crate) fn source(&self) -> &str {
        self.urls.first().map_or("", String::as_str)
    }

    /// What goes on now, or why nobody tells.
    pub(crate) async fn look(&self) -> Result<Live, String> {
        let mut gone = Silence::Nobody;
        for url in &self.urls {
            match self.client.get(&format!("{url}{PATH}"), Some(&self.key), PATIENCE).await {
                Ok((status, body)) => return understood(url, status, &body),
                // Who hangs is not passed over: the next may tell of less.
                Err(Silence::Nobody) => {}
                Err(silence) => {
                    gone = silence;
                    break;
                }
            }
        }
        Err(gone.to_string())
    }
}

/// What the console says of all gateways, or a gateway of itself.
fn understood(url: &str, status: StatusCode, body: &[u8]) -> Result<Live, String> {
    if status != StatusCode::OK {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let message = body["error"]["message"].as_str().unwrap_or("without saying why");
        return Err(format!("it answers {}: {message}", status.as_u16()));
    }
    if let Ok(one) = serde_json::from_slice::<GatewayLive>(body) {
        let answer = GatewayAnswer { url: url.to_owned(), error: None, live: Some(Box::new(one)) };
        let at_ms = answer.live.as_ref().map_or(0, |live| live.at_ms);
        return Ok(Live::of(at_ms, vec![answer]));
    }
    serde_json::from_slice(body).map_err(|error| format!("its answer cannot be read: {error}"))
}

/// Looks once, or for as long as somebody does.
pub(crate) fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let watcher = args.whom.watcher(&args.data_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if args.once {
        let live = runtime.block_on(watcher.look());
        let live = live.map_err(|error| anyhow::anyhow!("{}: {error}", watcher.source()))?;
        return print(&live, args.json);
    }
    if !std::io::stdout().is_terminal() {
        bail!("standard output is not a terminal: --once looks once and prints what is seen");
    }
    let source = watcher.source().to_owned();
    let (tell, news) = channel();
    // It ends with the process, or when nobody listens any more.
    let watching = std::thread::Builder::new().name("watch".to_owned());
    watching.spawn(move || runtime.block_on(watch(&watcher, &tell))).context("cannot start a thread")?;
    top::run(&source, &news).context("the terminal cannot be used")?;
    Ok(ExitCode::SUCCESS)
}

/// Tells every second what goes on, until the process is asked to end or nobody listens.
async fn watch(watcher: &Watcher, tell: &Sender<News>) {
    let shutdown = Shutdown::on_signals();
    loop {
        let looked = async {
            let heard = watcher.look().await.map(Box::new);
            let is_told = tell.send(News::Heard(heard)).is_ok();
            tokio::time::sleep(PAUSE).await;
            is_told
        };
        let goes_on = tokio::select! {
            goes_on = looked => goes_on,
            () = shutdown.triggered() => false,
        };
        if !goes_on {
            // Who has left needs not be told.
            let _left = tell.send(News::Stop);
            return;
        }
    }
}

/// Prints what is seen; fails when no gateway told anything.
fn print(live: &Live, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        say(&serde_json::to_string_pretty(live)?);
    } else {
        for pane in Pane::ALL {
            say(&format!("{}:", pane.title()));
            for line in top::plain(live, pane, WIDTH) {
                say(&line);
            }
            say("");
        }
    }
    let is_told = live.answered().next().is_some();
    Ok(if is_told { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whom(url: Option<&str>, key: Option<&str>) -> Whom {
        Whom { url: url.map(str::to_owned), admin_key: key.map(str::to_owned) }
    }

    #[test]
    fn who_is_asked_comes_from_the_line_or_from_the_tower() {
        let dir = tempfile::tempdir().unwrap();
        let error = whom(None, None).watcher(dir.path()).unwrap_err().to_string();
        assert!(error.contains("--data-dir") && error.contains("--url"), "{error}");
        let error = whom(Some("http://x"), None).watcher(dir.path()).unwrap_err().to_string();
        assert!(error.contains("--admin-key"), "{error}");
        let watcher = whom(Some("http://x/"), Some("ct-admin-1")).watcher(dir.path()).unwrap();
        assert_eq!((watcher.source(), &watcher.urls), ("http://x", &vec!["http://x".to_owned()]));
        assert!(!format!("{watcher:?}").contains("ct-admin-1"));
    }

    #[test]
    fn the_key_of_a_tower_is_told_to_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let tower = serde_json::json!({
            "gateway_url": "http://127.0.0.1:8080", "console_url": "http://127.0.0.1:8081/",
            "otlp_grpc_url": "", "otlp_http_url": "",
            "clickhouse": {"url": "", "user": "", "password": "", "database": ""},
            "admin_key": "ct-admin-2", "tenant_id": "", "tenant_key": "", "console_user": "", "console_password": "",
        });
        std::fs::write(dir.path().join("bootstrap.json"), tower.to_string()).unwrap();
        for own in ["http://127.0.0.1:8080/", "http://127.0.0.1:8081"] {
            assert_eq!(whom(Some(own), None).watcher(dir.path()).unwrap().key, "Bearer ct-admin-2", "{own}");
        }
        assert_eq!(whom(None, None).watcher(dir.path()).unwrap().key, "Bearer ct-admin-2");
        for other in
            ["http://other", "http://127.0.0.1:80", "http://127.0.0.1:8080.other", "http://127.0.0.1:8080/x"]
        {
            let error = whom(Some(other), None).watcher(dir.path()).unwrap_err().to_string();
            assert!(error.contains(other) && error.contains("--admin-key"), "{error}");
            assert!(!error.contains("ct-admin-2"), "{error}");
            let watcher = whom(Some(other), Some("ct-admin-3")).watcher(dir.path()).unwrap();
            assert_eq!(watcher.key, "Bearer ct-admin-3");
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_said_to_be_none() {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let watcher = whom(Some(&format!("http://{gone}")), Some("k")).watcher(Path::new("nowhere")).unwrap();
        assert_eq!(watcher.look().await.unwrap_err(), "nothing listens there");
        let error = understood("", StatusCode::UNAUTHORIZED, br#"{"error":{"message":"wrong admin key"}}"#);
        assert_eq!(error.unwrap_err(), "it answers 401: wrong admin key");
        assert!(understood("", StatusCode::OK, b"<html>").unwrap_err().contains("cannot be read"));
        let none = serde_json::to_vec(&Live::of(7, Vec::new())).unwrap();
        assert_eq!(understood("", StatusCode::OK, &none).unwrap().at_ms, 7);
    }
}
