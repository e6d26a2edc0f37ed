//! A judge that people agree with, and then do not.

use super::*;
use crate::config::Config;
use crate::judges::{JudgesConfig, Registry as Judges};
use crate::online::{OnlineMetrics, generation};
use contracts::policy::Snapshot;
use contracts::{TenantId, Timestamp};
use control::records::{HumanLabel, NewAnnotation};
use control::{Judging, SnapshotHandle};
use runtime::Clock;
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Mutex};
use warehouse::{Warehouse, WarehouseConfig};

/// 2026-11-02T10:00:00Z.
const NOW: i64 = 1_793_613_600;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines(&self, event: &str) -> usize {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(&format!("event.name=\"{event}\""))).count()
    }
}

struct Stage {
    shared: Shared,
    labelled: i64,
    _dir: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("control.db").display());
        let enabled = vec!["hallucination".to_owned()];
        let registry = Judges::built_in(&JudgesConfig { enabled, ..JudgesConfig::default() }, None).unwrap();
        let shared = Shared {
            config: Arc::new(Config::default()),
            generation: generation(&registry),
            registry,
            warehouse: Warehouse::connect(WarehouseConfig::default()),
            judging: Judging::open(&url).await.unwrap(),
            snapshots: SnapshotHandle::fixed(Snapshot::default()),
            clock: Clock::manual(Timestamp::from_unix_seconds(NOW)),
            metrics: OnlineMetrics::default(),
            process: "one".to_owned(),
            spending: tokio_util::task::TaskTracker::new(),
        };
        Self { shared, labelled: 0, _dir: dir }
    }

    /// So many calls that the judge finds good or bad, and a person good or bad.
    async fn label(&mut self, count: usize, judge_passes: bool, person_passes: bool) {
        let annotations = self.shared.judging.annotations();
        let tenant: TenantId = "acme".parse().unwrap();
        let word = |passes: bool| if passes { "pass" } else { "fail" }.to_owned();
        let version = self.shared.registry.get("hallucination").unwrap().version().to_owned();
        let said = |version: &str| json!({"judge": "hallucination", "version": version, "label": word(judge_passes)});
        for _ in 0..count {
            self.labelled += 1;
            let at = Timestamp::from_unix_seconds(NOW - 1_000 + self.labelled);
            let new = NewAnnotation {
                tenant: tenant.clone(),
                queue: "default".to_owned(),
                trace_id: "t".to_owned(),
                span_id: self.labelled.to_string(),
                subject: json!({}),
                // The version before was no good either, and is none of our business any more.
                verdicts: json!([said(&version), {"judge": "hallucination", "version": "0", "label": "pass"}]),
            };
            let queued = annotations.create(new, at).await.unwrap();
            let label = HumanLabel {
                label: word(person_passes),
                score: None,
                comment: String::new(),
                annotator: "ann".to_owned(),
                at,
            };
            annotations.label(&tenant, &queued.id, &label).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_judge_that_parts_from_people_is_seen_in_the_metrics_and_once_in_the_log() {
    let log = Log::default();
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut stage = Stage::new().await;
    let mut registry = Registry::default();
    let metrics = DriftMetrics::new(&mut registry);
    let mut drift = Drift::new(stage.shared.clone(), metrics);
    let shown = |registry: &Registry| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text.lines().filter(|line| line.contains("tenant=\"acme\"")).map(str::to_owned).collect::<Vec<_>>()
    };
    drift.round().await.unwrap();
    assert_eq!(shown(&registry), Vec::<String>::new());

    stage.label(60, true, true).await;
    stage.label(60, false, false).await;
    drift.round().await.unwrap();
    let lines = shown(&registry);
    assert_eq!(lines.len(), 2, "one figure each of the present version: {lines:?}");
    assert!(
        lines.iter().any(|l| l.starts_with("evaluator_judge_agreement{") && l.ends_with(" 1.0")),
        "{lines:?}"
    );
    assert!(lines.iter().any(|l| l.starts_with("evaluator_judge_drift{") && l.ends_with(" 0")), "{lines:?}");
    assert_eq!(log.lines("evaluator.judge_drift"), 0);

    // From here on it might as well toss a coin.
    for judge in [true, false] {
        for person in [true, false] {
            stage.label(25, judge, person).await;
        }
    }
    for _ in 0..3 {
        drift.round().await.unwrap();
        let lines = shown(&registry);
        assert!(
            lines.iter().any(|l| l.starts_with("evaluator_judge_drift{") && l.ends_with(" 1")),
            "{lines:?}"
        );
        assert_eq!(log.lines("evaluator.judge_drift"), 1, "said once");
    }

    stage.label(50, true, true).await;
    stage.label(50, false, false).await;
    drift.round().await.unwrap();
    assert!(shown(&registry).iter().any(|l| l.starts_with("evaluator_judge_drift{") && l.ends_with(" 0")));
    assert_eq!((log.lines("evaluator.judge_drift"), log.lines("evaluator.judge_drift_over")), (1, 1));

    // Labels of long ago say nothing of today, and leave nothing behind.
    stage.shared.clock.advance(Duration::from_hours(24 * 91));
    drift.round().await.unwrap();
    assert_eq!(shown(&registry), Vec::<String>::new());
}
