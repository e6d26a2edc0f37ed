//! `control-tower eval run`.

use super::Place;
use crate::output::{fail, say};
use crate::up::Bootstrap;
use anyhow::{Context, bail};
use clap::Args;
use contracts::Usd;
use evaluator::datasets::{self, DatasetRef, Version};
use evaluator::judges::{BUILT_IN, Judge, Ledger, Registry};
use evaluator::runs::account::{self, Account};
use evaluator::runs::gate::{Gate, Outcome};
use evaluator::runs::report::{self, Report};
use evaluator::runs::{
    Asker, ContextIn, Ended, Gateway, GatewayConfig, Header, Journal, Limits, Progress, Target, execute,
    reference_judges, table,
};
use indicatif::{ProgressBar, ProgressStyle};
use inference::{Embedder, EmbedderOptions, models};
use runtime::{Clock, Shutdown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use warehouse::Warehouse;

/// How the process ends when a condition of `--fail-if` is met.
const GATE_FAILED: u8 = 3;
/// How it ends when the run is not finished: at its ceiling, or stopped.
const NOT_FINISHED: u8 = 4;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// NAME, NAME@VERSION, or a file (.jsonl, .csv, .parquet).
    #[arg(long, value_name = "DATASET")]
    dataset: String,
    /// What is tried: route:NAME, model:NAME, or prompt-version:FILE (a system prompt; {{context}} stands for the passages).
    #[arg(long, value_name = "TARGET")]
    target: String,
    /// The route or model at which a prompt version is tried.
    #[arg(long, value_name = "NAME")]
    at: Option<String>,
    /// Judges, separated by commas: built-in ones (grounding, hallucination, refusal, …), `exact_match`, `token_f1`, and those of
    /// `evaluator.judges` in the configuration that ask a model, a URL or a command. What they cost counts.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "grounding")]
    judges: Vec<String>,
    /// How often each row is asked.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Rows in flight.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// US dollars that calls and judges may cost. Raise it to go on.
    #[arg(long, value_name = "USD")]
    cost_ceiling: Option<Usd>,
    /// Name of the run. One that exists is taken up where it stopped.
    #[arg(long, value_name = "NAME")]
    run: Option<String>,
    /// End with status 3 when this holds, such as 'grounding < 0.9 or errors > 0.01'; may be repeated.
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<String>,
    /// Write a report: Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write a report: `JUnit` XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// The rows' messages hold their context already: do not put it before them.
    #[arg(long)]
    context_in_messages: bool,
    /// Base URL of the gateway; the tower's otherwise.
    #[arg(long, value_name = "URL")]
    gateway_url: Option<String>,
    /// API key; the tower's otherwise.
    #[arg(long, value_name = "KEY", env = "CONTROL_TOWER_API_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Seconds for one call.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// Further tries after a call that failed in passing.
    #[arg(long, value_name = "N", default_value_t = 2)]
    retries: u32,
    /// Seconds to wait for the calls to arrive in ClickHouse, where their cost is checked.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    settle: u64,
    /// Do without ClickHouse: a file as dataset, no check of the cost, results on disk only.
    #[arg(long)]
    no_store: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Runs, reports, and says how the process ends.
pub(crate) async fn run(args: RunArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    // Whatever is wrong with the arguments is said before anything is spent.
    let gates: Vec<Gate> = args.fail_if.iter().map(|text| Gate::parse(text)).collect::<Result<_, _>>()?;
    let target = Target::parse(&args.target, args.at.as_deref())?;
    let judges = judges(&args, config)?;
    let warehouse = if args.no_store { None } else { Some(args.place.warehouse(config)?) };
    let (name, version) = dataset(&args, warehouse.as_ref()).await?;
    let clock = Clock::system();
    let run_id = run_id(&args, &clock, version.hash())?;
    let (repeat, rows) = (args.repeat, version.rows());
    let header = Header {
        run_id: run_id.clone(),
        tenant: args.place.tenant()?.to_string(),
        dataset: name,
        version: version.hash().to_owned(),
        target: target.to_string(),
        judges: judges.iter().map(|judge| format!("{}@{}", judge.name(), judge.version())).collect(),
        repeat,
        planned: rows.len() as u64 * u64::from(repeat),
        started_at: clock.now(),
    };
    let asker = Asker {
        run_id: run_id.clone(),
        tenant: args.place.tenant()?,
        target,
        context: if args.context_in_messages { ContextIn::Messages } else { ContextIn::System },
        gateway: gateway(&args)?,
        judges,
        clock: clock.clone(),
    };
    let dir = args.place.data_dir.join("eval").join(&run_id);
    let journal = Journal::open(&dir, &header)?;
    let limits = Limits { concurrency: usize::from(args.concurrency), cost_ceiling: args.cost_ceiling };
    let bar = bar(&journal);
    let stop = Shutdown::on_signals().token();
    let (mut journal, ended) =
        execute(&asker, rows, journal, limits, &stop, |progress| show(&bar, progress)).await?;
    bar.finish_and_clear();

    table::write_parquet(journal.results(), &dir.join("results.parquet"))?;
    let account = match &warehouse {
        None => account::told(journal.results()),
        Some(warehouse) => {
            let traces: Vec<String> = (1..=repeat)
                .flat_map(|turn| rows.iter().map(move |row| (row, turn)))
                .map(|(row, turn)| asker.trace_id(&row.id, turn))
                .collect();
            let (header, patience) = (journal.header(), Duration::from_secs(args.settle));
            account::check(warehouse, header, journal.results(), &traces, clock.now(), patience).await?
        }
    };
    if let Some(warehouse) = &warehouse {
        account::hand_over(warehouse, &mut journal, &account, ended, clock.now()).await?;
    }
    // Conditions are for the whole: of a part they would say something else.
    let gates: &[Gate] = if ended == Ended::Finished { &gates } else { &[] };
    let outcomes: Vec<Outcome> =
        gates.iter().map(|gate| gate.check(journal.results())).collect::<Result<_, _>>()?;
    tell(&args, &dir, &journal, &account, &outcomes, ended)
}

fn tell(
    args: &RunArgs,
    dir: &Path,
    journal: &Journal,
    account: &Account,
    gates: &[Outcome],
    ended: Ended,
) -> anyhow::Result<ExitCode> {
    let report = Report { header: journal.header(), results: journal.results(), account, gates };
    let markdown = report::markdown(&report)?;
    let write =
        |path: &Path, text: &str| std::fs::write(path, text).with_context(|| path.display().to_string());
    if let Some(path) = &args.markdown {
        write(path, &markdown)?;
    }
    if let Some(path) = &args.junit {
        write(path, &report::junit(&report))?;
    }
    let met = gates.iter().any(|gate| gate.met);
    if args.json {
        let told = serde_json::json!({
            "run": journal.header(),
            "state": if ended == Ended::Finished { "finished" } else { "stopped" },
            "results": journal.results().len(),
            "account": account,
            "summary": evaluator::runs::summary::summarise(journal.results()),
            "gates": gates,
            "dir": dir.display().to_string(),
        });
        say(&serde_json::to_string_pretty(&told)?);
    } else {
        markdown.lines().for_each(say);
        say(&format!("\nJournal and Parquet: {}", dir.display()));
    }
    let again = format!("the same command with --run {} goes on", journal.header().run_id);
    Ok(match ended {
        Ended::Finished if met => ExitCode::from(GATE_FAILED),
        Ended::Finished => ExitCode::SUCCESS,
        Ended::AtCeiling => {
            fail(&format!("stopped at the cost ceiling; with a higher one {again}"));
            ExitCode::from(NOT_FINISHED)
        }
        Ended::Stopped => {
            fail(&format!("stopped; {again}"));
            ExitCode::from(NOT_FINISHED)
        }
    })
}

async fn dataset(args: &RunArgs, warehouse: Option<&Warehouse>) -> anyhow::Result<(String, Version)> {
    let path = Path::new(&args.dataset);
    if datasets::Format::of(path).is_ok() && path.exists() {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        return Ok((name, Version::new(datasets::read(path)?)?));
    }
    let Some(warehouse) = warehouse else {
        bail!("--dataset {:?} is not valid: expected a file, for --no-store was given", args.dataset);
    };
    let (tenant, reference) = (args.place.tenant()?, DatasetRef::parse(&args.dataset)?);
    let found = datasets::resolve(warehouse, &tenant, &reference).await?;
    Ok((found.name.clone(), datasets::load(warehouse, &tenant, &found).await?))
}

/// The judges of these names, in this order: built-in, configured, or by comparison with the reference answer.
fn judges(args: &RunArgs, config: Option<&Path>) -> anyhow::Result<Vec<Arc<dyn Judge>>> {
    let evaluator = crate::roles::load(config)?.evaluator();
    let is_wanted = |name: &str| args.judges.iter().any(|wanted| wanted == name);
    let mut chosen = evaluator.judges.clone();
    chosen.enabled = BUILT_IN.iter().filter(|name| is_wanted(name)).map(|name| (*name).to_owned()).collect();
    chosen.models.retain(|judge| is_wanted(&judge.name));
    chosen.custom.retain(|judge| is_wanted(&judge.name));
    let needs_embedder = !chosen.enabled.is_empty() || !chosen.models.is_empty();
    let embedder = if needs_embedder { embedder(&args.place.data_dir) } else { None };
    let gateway = if chosen.models.is_empty() { None } else { Some(judges_gateway(args, &evaluator)?) };
    let gateway = gateway.as_ref().map(|(url, key)| (url.as_str(), key.as_str()));
    // A run has a ceiling of its own: it takes nothing of what online judges may spend a day.
    let registry = Registry::configured(&chosen, gateway, embedder.as_ref(), &Ledger::Here)?;
    let registry = registry.with(reference_judges());
    let configured = evaluator.judges.models.iter().map(|judge| judge.name.as_str());
    let configured = configured.chain(evaluator.judges.custom.iter().map(|judge| judge.name.as_str()));
    let known: Vec<&str> =
        BUILT_IN.iter().copied().chain(["exact_match", "token_f1"]).chain(configured).collect();
    let wanted = args.judges.iter().filter(|name| !name.is_empty());
    wanted
        .map(|name| match registry.get(name) {
            Some(judge) => Ok(judge.clone()),
            None if BUILT_IN.contains(&name.as_str()) => {
                bail!("--judges {name:?}: needs the embedder's weights, which are not there")
            }
            None => bail!("--judges {name:?} is not valid: expected some of {}", known.join(", ")),
        })
        .collect()
}

/// Where judges ask models, and with whose key: as the evaluator does, or at the gateway of the run with the key that the tower keeps for
/// judges. It is never the key of the run: calls with that one are answers to be judged.
fn judges_gateway(args: &RunArgs, evaluator: &evaluator::Config) -> anyhow::Result<(String, String)> {
    let bootstrap = args.place.bootstrap()?;
    let of_tower = |text: fn(&Bootstrap) -> &String| {
        bootstrap.as_ref().map(text).filter(|text| !text.is_empty()).cloned()
    };
    let url = evaluator.gateway_url.clone().or_else(|| args.gateway_url.clone());
    let url = url.or_else(|| of_tower(|tower| &tower.gateway_url));
    let key = evaluator.gateway_key.clone().or_else(|| of_tower(|tower| &tower.evaluator_key));
    let (Some(url), Some(key)) = (url, key) else {
        bail!(
            "judges that ask a model need evaluator.gateway_url and evaluator.gateway_key, or the --data-dir of a tower"
        );
    };
    Ok((url, key))
}

/// The embedder, where its weights are; judges that can do without it do.
fn embedder(data_dir: &Path) -> Option<Arc<Embedder>> {
    let dir = models::find(None, Some(data_dir)).ok()?;
    match Embedder::load(&dir, &EmbedderOptions::default()) {
        Ok(embedder) => Some(Arc::new(embedder)),
        Err(error) => {
            fail(&format!(
                "{}: the embedder cannot be loaded, words alone are compared: {error}",
                dir.display()
            ));
            None
        }
    }
}

fn gateway(args: &RunArgs) -> anyhow::Result<Gateway> {
    let bootstrap = args.place.bootstrap()?;
    let url = args.gateway_url.clone().or_else(|| Some(bootstrap.as_ref()?.gateway_url.clone()));
    let key = args.key.clone().or_else(|| Some(bootstrap.as_ref()?.tenant_key.clone()));
    let (Some(url), Some(key)) = (url, key) else {
        bail!("which gateway? Give --gateway-url and --key, or the --data-dir of a tower");
    };
    let config =
        GatewayConfig { url, key, timeout: Duration::from_secs(args.timeout.max(1)), retries: args.retries };
    Ok(Gateway::new(&config)?)
}

/// As given, or one that nobody had before.
fn run_id(args: &RunArgs, clock: &Clock, version: &str) -> anyhow::Result<String> {
    let Some(name) = &args.run else {
        let random = control::secrets::random_hex::<4>()?;
        return Ok(format!("{}-{}-{random}", clock.now().unix_seconds(), &version[..8]));
    };
    let fine = (1..=100).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !name.starts_with('.');
    if !fine {
        bail!("--run {name:?} is not valid: expected 1 to 100 of A-Z a-z 0-9 . _ -, not starting with a dot");
    }
    Ok(name.clone())
}

/// On a terminal's standard error; nowhere else.
fn bar(journal: &Journal) -> ProgressBar {
    let bar = ProgressBar::new(journal.header().planned);
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} {per_sec} {eta} {msg}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_position(progress.done);
    bar.set_message(format!("{} USD, {} without an answer", progress.spent, progress.errors));
}
