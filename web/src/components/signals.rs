//! The golden signals: a tile each with its value, with how much the value rests on, and with what it means.

use crate::api::Problem;
use crate::api::types::SignalsAnswer;
use crate::format;
use contracts::reads::Signals;
use leptos::prelude::*;

/// The tile whose figure the Overview has in any case.
const FIRST_TOKEN: &str = "first-token";

/// A signal in words.
struct Tile {
    /// Part of its element's id.
    id: &'static str,
    name: &'static str,
    /// None where there is nothing that it could be said of.
    value: Option<String>,
    /// The exact value, or more of it.
    exact: String,
    /// What it rests on, or what is missing.
    note: String,
    /// Its definition.
    means: &'static str,
}

/// The tiles of the Overview. While they are read again, the old ones stay; without them the page is still of use, and where it came without
/// them the browser asks.
#[component]
pub(crate) fn SignalTiles(
    /// The figures.
    signals: Resource<Result<Option<SignalsAnswer>, Problem>>,
    /// The median time to the first token, milliseconds.
    first_token_p50_ms: Option<f64>,
) -> impl IntoView {
    Effect::new(move || {
        if let Some(Ok(None)) = signals.get() {
            signals.refetch();
        }
    });
    view! {
        <Transition fallback=move || pending(first_token_p50_ms)>
            {move || Suspend::new(async move {
                match signals.await {
                    Ok(Some(answer)) => tiles(&answer.signals, first_token_p50_ms),
                    Ok(None) => pending(first_token_p50_ms),
                    Err(problem) => view! {
                        <p class="note bad" role="alert">
                            "The golden signals cannot be read right now: " {problem.message}
                        </p>
                    }
                    .into_any(),
                }
            })}
        </Transition>
    }
    .into_any()
}

/// The tiles before the figures are there: each in its place with its name, so that nothing moves when they come.
fn pending(first_token_p50_ms: Option<f64>) -> AnyView {
    let unknown = Signals::default();
    let waiting =
        |tile: Tile| Tile {
            value: Some(String::from("…")), note: String::from("being worked out"), ..tile
        };
    let tiles = all(&unknown, first_token_p50_ms)
        .map(|tile| if tile.id == FIRST_TOKEN { tile } else { waiting(tile) });
    view! {
        <dl class="tiles" aria-busy="true" aria-label="Loading the golden signals">
            {tiles.map(tile).collect_view()}
        </dl>
    }
    .into_any()
}

fn tiles(signals: &Signals, first_token_p50_ms: Option<f64>) -> AnyView {
    view! { <dl class="tiles">{all(signals, first_token_p50_ms).map(tile).collect_view()}</dl> }.into_any()
}

fn all(signals: &Signals, first_token_p50_ms: Option<f64>) -> [Tile; 6] {
    [
        judged(signals),
        proxy(signals),
        retrieval(signals),
        tools(signals),
        dollars(signals),
        first_token(first_token_p50_ms),
    ]
}

fn tile(tile: Tile) -> impl IntoView {
    let id = format!("signal-{}", tile.id);
    let described_by = id.clone();
    let is_known = tile.value.is_some();
    view! {
        <div class="card tile" class:unknown=!is_known tabindex="0" aria-describedby=described_by data-signal=tile.id>
            <dt>{tile.name}</dt>
            <dd class="tile-value num">{tile.value.unwrap_or_else(|| String::from("–"))}</dd>
            <dd class="tile-note">{tile.note}</dd>
            <dd class="tip" id=id>
                {tile.means}
                {(!tile.exact.is_empty()).then(|| view! { <b class="num">{tile.exact}</b> })}
            </dd>
        </div>
    }
    .into_any()
}

fn judged(signals: &Signals) -> Tile {
    Tile {
        id: "grounding",
        name: "Grounding coverage",
        value: signals.grounding_coverage.map(|share| format::percent(Some(share))),
        exact: exact(signals.grounding_coverage),
        note: answers(signals.grounding_judged),
        means: "Share of an answer's claims that its context supports; the mean over judged answers.",
    }
}

fn proxy(signals: &Signals) -> Tile {
    Tile {
        id: "hallucination",
        name: "Hallucination proxy",
        value: signals.hallucination_proxy.map(|share| format::percent(Some(share))),
        exact: exact(signals.hallucination_proxy),
        note: answers(signals.hallucination_judged),
        means: "Probability that an answer contains content that its context does not support, by the calibrated detector; \
                the mean over judged answers.",
    }
}

fn retrieval(signals: &Signals) -> Tile {
    let (all, known) = (signals.retrievals, signals.retrievals_known);
    let note = match (all, known) {
        (0, _) => String::from("no retrievals yet"),
        (all, 0) => format!("none of {} judged yet", counted(all, "retrieval", "retrievals")),
        (all, known) => {
            format!("{} of {} judged", format::count(known), counted(all, "retrieval", "retrievals"))
        }
    };
    let rate = signals.retrieval_hit_rate.filter(|_| known > 0);
    Tile {
        id: "retrieval",
        name: "Retrieval hit rate",
        value: rate.map(|share| format::percent(Some(share))),
        exact: exact(rate),
        note,
        means: "Retrievals with at least one returned document that the answer used or the truth set names, of all retrievals. \
                One that nothing tells of counts as a miss.",
    }
}

fn tools(signals: &Signals) -> Tile {
    Tile {
        id: "tools",
        name: "Tool error rate",
        value: signals.tool_error_rate.map(|share| format::percent(Some(share))),
        exact: exact(signals.tool_error_rate),
        note: match signals.tools {
            0 => String::from("no tool executions yet"),
            n => counted(n, "tool execution", "tool executions"),
        },
        means: "Tool executions that ended in an error, a timeout or a violation of the tool's schema, of all tool executions.",
    }
}

fn dollars(signals: &Signals) -> Tile {
    let (actions, useful) = (signals.actions, signals.useful_actions);
    Tile {
        id: "dollars",
        name: "Dollars per useful action",
        value: signals.dollars_per_useful_action.map(format::usd),
        exact: signals
            .dollars_per_useful_action
            .map(|usd| format!("Exactly {}", format::exact_usd(usd)))
            .unwrap_or_default(),
        note: match (actions, useful) {
            (0, _) => String::from("no actions yet"),
            (n, 0) => format!("none of {} useful", counted(n, "action", "actions")),
            (n, useful) => format!("{} of {} useful", format::count(useful), counted(n, "action", "actions")),
        },
        means: "All cost of the calls tied to actions (attempts, cascades, caches, embeddings, judging), by actions whose outcome \
                is useful. Calls of the same trace are tied; each counts once.",
    }
}

fn first_token(p50_ms: Option<f64>) -> Tile {
    Tile {
        id: FIRST_TOKEN,
        name: "Time to first token",
        value: p50_ms.map(format::duration),
        exact: p50_ms.map(|ms| format!("{ms:.3} ms")).unwrap_or_default(),
        note: String::from(if p50_ms.is_some() { "median of requests" } else { "none measured yet" }),
        means: "From the request's last byte in to the first content byte out: the median over requests with content, right to 1 %.",
    }
}

/// How many answers a mean is of.
fn answers(judged: u64) -> String {
    match judged {
        0 => String::from("no judged calls yet"),
        n => counted(n, "judged call", "judged calls"),
    }
}

fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", format::count(n), if n == 1 { one } else { many })
}

fn exact(share: Option<f64>) -> String {
    share.map(|share| format!("Exactly {share:.6}")).unwrap_or_default()
}
