//! Dollars per useful action over a simulated month whose truth is known, and intervals over months whose truth is known.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use contracts::Usd;
use contracts::outcomes::{Attribution, OutcomeGroup};
use contracts::price::PriceBook;
use contracts::reads::{CallFilter, TenantScope, TimeRange};
use std::collections::BTreeMap;
use warehouse::outcomes::ratio_interval;
use warehouse::testing::Engine;
use warehouse::{EVALUATOR_KEY, EventRow, SpanRow};

const FROM_MS: i64 = 1_793_491_200_000;
const DAY_MS: i64 = 86_400_000;
const RANGE: TimeRange = TimeRange { from_ms: FROM_MS, to_ms: FROM_MS + 30 * DAY_MS };

/// Draws without a crate, the same each time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn unit(&mut self) -> f64 {
        f64::from(u32::try_from(self.below(1 << 30)).unwrap()) / f64::from(1 << 30)
    }
}

/// The month as it is made, and what is true of it, added up while it is made.
#[derive(Default)]
struct Month {
    spans: Vec<SpanRow>,
    events: Vec<EventRow>,
    truth: BTreeMap<(&'static str, String), Truth>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Truth {
    actions: u64,
    useful: u64,
    value: i128,
    cost: i128,
    overhead: i128,
    overhead_calls: u64,
}

/// One call with an attempt that failed over to another, and a judgement.
struct Made {
    cost: i128,
    judges: i128,
    response: String,
    request: String,
}

struct Where<'a> {
    tenant: &'a str,
    trace: &'a str,
    at_ms: i64,
    route: &'a str,
    model: &'a str,
    arm: &'a str,
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

impl Month {
    fn call(&mut self, at: &Where<'_>, embeddings: bool, draw: &mut Draw) -> Made {
        let number = self.spans.len();
        let (first, last) =
            (i128::from(draw.below(2) * draw.below(90_000_000)), i128::from(draw.below(7_000_000_007)));
        let cost = first + last;
        let span = SpanRow {
            tenant_id: at.tenant.into(),
            start_time: at.at_ms * 1_000_000 + i64::try_from(number).unwrap(),
            trace_id: at.trace.into(),
            span_id: format!("{number:016x}"),
            record: "call".into(),
            operation: if embeddings { "embeddings" } else { "chat" }.into(),
            route: at.route.into(),
            request_model: at.model.into(),
            prompt_name: "support".into(),
            prompt_version: "3".into(),
            experiment_name: "greeting".into(),
            experiment_variant: at.arm.into(),
            response_id: format!("resp-{number}"),
            request_id: format!("req_{number}"),
            cost_total: cost,
            cost_cache: last / 10,
            retention_days: 3650,
            ..SpanRow::default()
        };
        for (attempt, cost) in [(1, first), (2, last)] {
            self.spans.push(SpanRow {
                span_id: format!("{:016x}", 1_000_000 + 2 * number + usize::from(attempt)),
                parent_span_id: span.span_id.clone(),
                record: "attempt".into(),
                attempt,
                cost_total: cost,
                ..span.clone()
            });
        }
        let judges = i128::from(draw.below(3) * 1_234_567);
        self.events.push(EventRow {
            tenant_id: at.tenant.into(),
            time: span.start_time + 1,
            event_id: format!("judged-{number}"),
            event_name: "gen_ai.evaluation.result".into(),
            trace_id: at.trace.into(),
            span_id: span.span_id.clone(),
            key_id: EVALUATOR_KEY.into(),
            attributes: pairs(&[
                ("gen_ai.evaluation.name", "grounding"),
                ("control_tower.evaluation.version", "1"),
                ("control_tower.evaluation.cost", &Usd::from_picos(judges).to_string()),
                ("control_tower.evaluation.call_time_unix_nano", &span.start_time.to_string()),
            ]),
            retention_days: 3650,
            ..EventRow::default()
        });
        let made =
            Made { cost, judges, response: span.response_id.clone(), request: span.request_id.clone() };
        self.spans.push(span);
        made
    }

    /// One statement about an action.
    fn say(
        &mut self,
        at: &Where<'_>,
        key: &str,
        received_ms: i64,
        outcome: (&str, i128),
        links: (&str, &str),
    ) {
        let number = self.events.len();
        let value = Usd::from_picos(outcome.1).to_string();
        self.events.push(EventRow {
            tenant_id: at.tenant.into(),
            time: (at.at_ms + 60_000) * 1_000_000,
            observed_time: received_ms * 1_000_000,
            event_id: format!("said-{number}"),
            event_name: "control_tower.action".into(),
            attributes: pairs(&[
                ("control_tower.idempotency.key", key),
                ("control_tower.action.name", "resolved"),
                ("control_tower.action.outcome", outcome.0),
                ("control_tower.action.value", &value),
                ("control_tower.action.responses", links.0),
                ("control_tower.action.traces", links.1),
            ]),
            retention_days: 3650,
            ..EventRow::default()
        });
    }

    /// What judges were paid beside the verdicts on calls; and the same as a tenant could send it, which is nothing to us.
    fn judging(&mut self, at: &Where<'_>, cost: i128) {
        for (id, key_id, service) in [
            ("paid", EVALUATOR_KEY, "control-tower-evaluator"),
            ("forged", "", "control-tower-evaluator"),
            ("forged-by-key", "key-1", ""),
        ] {
            self.events.push(EventRow {
                tenant_id: at.tenant.into(),
                time: at.at_ms * 1_000_000,
                event_id: format!("{id}-{}", at.trace),
                event_name: "control_tower.judging.cost".into(),
                key_id: key_id.into(),
                service_name: service.into(),
                attributes: pairs(&[
                    ("gen_ai.evaluation.name", "helpfulness"),
                    ("control_tower.evaluation.version", "1"),
                    ("control_tower.evaluation.cost", &Usd::from_picos(cost).to_string()),
                    ("control_tower.route", at.route),
                    ("gen_ai.request.model", at.model),
                ]),
                retention_days: 3650,
                ..EventRow::default()
            });
        }
        for (dimension, name) in
            [("total", ""), ("tenant", at.tenant), ("route", at.route), ("model", at.model), ("arm", "")]
        {
            self.truth.entry((dimension, name.to_owned())).or_default().overhead += cost;
        }
    }

    /// Adds to what is true of everything that the place is in.
    fn true_of(&mut self, at: &Where<'_>, add: impl Fn(&mut Truth)) {
        for (dimension, name) in [
            ("total", String::new()),
            ("tenant", at.tenant.to_owned()),
            ("route", at.route.to_owned()),
            ("model", at.model.to_owned()),
            ("arm", format!("greeting/{}", at.arm)),
        ] {
            add(self.truth.entry((dimension, name)).or_default());
        }
    }

    /// A conversation: an embedding, one to three answers, and perhaps an action, said in one of several ways.
    fn conversation(&mut self, number: u64, draw: &mut Draw) {
        let trace = format!("{:032x}", number + 1);
        let at = Where {
            tenant: ["acme", "globex"][usize::try_from(number % 2).unwrap()],
            trace: &trace,
            at_ms: FROM_MS + i64::try_from(draw.below(29 * 86_400)).unwrap() * 1_000,
            route: ["", "fast"][usize::try_from(draw.below(2)).unwrap()],
            model: ["small", "large"][usize::try_from(draw.below(2)).unwrap()],
            arm: ["a", "b"][usize::try_from(draw.below(2)).unwrap()],
        };
        if number.is_multiple_of(500) {
            self.judging(&at, 2_000_000_001 + i128::from(number));
        }
        let answers = 1 + draw.below(3);
        let mut made = vec![self.call(&at, true, draw)];
        made.extend((0..answers).map(|_| self.call(&at, false, draw)));
        let cost: i128 = made.iter().map(|call| call.cost + call.judges).sum();
        let last = &made[made.len() - 1];
        let key = format!("key-{number}");
        let links = match draw.below(3) {
            0 => (String::new(), format!("[\"{trace}\"]")),
            1 => (format!("[\"{}\"]", last.response), String::new()),
            _ => (format!("[{{\"id\":\"{}\",\"weight\":1.0}}]", last.request), String::new()),
        };
        let links = (links.0.as_str(), links.1.as_str());
        let calls = u64::try_from(made.len()).unwrap();
        if draw.below(4) == 0 {
            // Nobody says anything, or speaks of answers that are not ours.
            if draw.below(2) == 0 {
                self.say(&at, &key, at.at_ms, ("useful", 0), ("[\"resp-of-somebody-else\"]", ""));
            }
            self.true_of(&at, |truth| {
                truth.overhead += cost;
                truth.overhead_calls += calls;
            });
            return;
        }
        let outcome = [("useful", 0), ("not_useful", 0), ("value", 2_500_000_000_000), ("value", 0)]
            [usize::try_from(draw.below(4)).unwrap()];
        let useful = outcome.0 == "useful" || outcome.1 > 0;
        if draw.below(3) == 0 {
            // Said otherwise before, with other links, but delivered later.
            self.say(&at, &key, at.at_ms + 70_000, outcome, links);
            self.say(&at, &key, at.at_ms + 65_000, ("not_useful", 0), ("[\"resp-0\"]", ""));
        } else {
            self.say(&at, &key, at.at_ms + 70_000, outcome, links);
        }
        self.true_of(&at, |truth| {
            truth.actions += 1;
            truth.useful += u64::from(useful);
            truth.value += outcome.1;
            truth.cost += cost;
        });
    }
}

fn found(group: &OutcomeGroup) -> Truth {
    Truth {
        actions: group.actions,
        useful: group.useful,
        value: group.value.picos(),
        cost: group.costs.total().picos(),
        overhead: group.overhead.picos(),
        overhead_calls: group.overhead_calls,
    }
}

#[tokio::test]
async fn a_simulated_month_gives_the_figure_that_is_known() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let (mut month, mut draw) = (Month::default(), Draw(20_261_122));
    for number in 0..3_000 {
        month.conversation(number, &mut draw);
    }
    // Outcomes arrive before the calls that they are about, and some batches twice.
    for (index, chunk) in month.events.chunks(2_000).enumerate() {
        for _ in 0..=index % 2 {
            warehouse.insert_events(chunk, &format!("events-{index}")).await.unwrap();
        }
    }
    for (index, chunk) in month.spans.chunks(5_000).enumerate() {
        for _ in 0..=index % 2 {
            warehouse.insert_spans(chunk, &format!("spans-{index}")).await.unwrap();
        }
    }
    let tenants = ["acme", "globex"].map(|tenant| tenant.parse().unwrap()).to_vec();
    let scope = TenantScope::many(tenants).unwrap();
    let prices = PriceBook::new("none", Vec::new()).unwrap();
    let report = warehouse.outcomes(&scope, RANGE, Attribution::Trace, &prices, &[]).await.unwrap();
    let mut groups: BTreeMap<(&str, String), Truth> = BTreeMap::new();
    groups.insert(("total", String::new()), found(&report.total));
    for (dimension, list) in [
        ("tenant", &report.by_tenant),
        ("route", &report.by_route),
        ("model", &report.by_model),
        ("arm", &report.by_arm),
    ] {
        groups.extend(list.iter().map(|group| ((dimension, group.name.clone()), found(group))));
    }
    assert_eq!(groups, month.truth);
    let truth = &month.truth[&("total", String::new())];
    let useful = i128::from(truth.useful);
    let by_hand = (truth.cost * 2 + useful) / (useful * 2);
    assert_eq!(report.total.per_useful.map(Usd::picos), Some(by_hand));
    let spent: i128 =
        month.spans.iter().filter(|span| span.record == "call").map(|span| span.cost_total).sum();
    let judged: i128 = report.total.costs.judges.picos();
    assert!(spent > 0 && judged > 0 && truth.actions > 2_000 && report.parked > 100 && truth.overhead > 0);
    println!(
        "{} actions, {} useful, {} USD each, interval {:?}, overhead {} USD",
        report.total.actions,
        report.total.useful,
        Usd::from_picos(by_hand),
        report.total.interval,
        report.total.overhead
    );
    let signals = warehouse.golden_signals(&scope, RANGE, &CallFilter::default(), true).await.unwrap();
    assert_eq!(signals.dollars_per_useful_action.map(Usd::picos), Some(by_hand), "the named query agrees");
    let one = TenantScope::one("acme".parse().unwrap());
    let other = warehouse.outcomes(&one, RANGE, Attribution::Trace, &prices, &[]).await.unwrap();
    assert_eq!(found(&other.total), month.truth[&("tenant", "acme".to_owned())], "nobody sees another's");
    let last = warehouse.outcomes(&scope, RANGE, Attribution::Last, &prices, &[]).await.unwrap();
    assert_eq!(
        (last.total.costs.total() + last.total.overhead).picos(),
        truth.cost + truth.overhead,
        "by any rule, what was spent is somewhere"
    );
    assert!(last.total.costs.total() < report.total.costs.total());
}

#[test]
fn intervals_cover_the_truth() {
    const SIMULATIONS: u32 = 1_000;
    let mut draw = Draw(7);
    let mut covered = 0;
    for _ in 0..SIMULATIONS {
        // Costs are skewed, a third as much again for what is not useful; 60 % are useful.
        let units: Vec<(f64, bool)> = (0..200)
            .map(|_| {
                let useful = draw.unit() < 0.6;
                let exponential = -(1.0 - draw.unit()).ln();
                (0.01 * exponential * if useful { 0.75 } else { 1.0 }, useful)
            })
            .collect();
        let truth = 0.01 * (0.6 * 0.75 + 0.4) / 0.6;
        let interval = ratio_interval(&units).unwrap();
        covered += u32::from(interval.low <= truth && truth <= interval.high);
    }
    println!("{covered} of {SIMULATIONS} intervals cover the truth");
    assert!(covered * 100 >= SIMULATIONS * 93, "{covered} of {SIMULATIONS} intervals cover the truth");
}
