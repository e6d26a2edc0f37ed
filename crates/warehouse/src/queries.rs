//! Every file of `queries/`, embedded. A file that is in the folder but not here fails a test.

/// The reads.
pub(crate) mod read {
    // What several reads begin with is a part: common table expressions without their WITH.
    macro_rules! reads {
        ($($name:ident = $file:literal $(after $first:literal $(and $next:literal)*)?),* $(,)?) => {
            $(pub(crate) const $name: &str = concat!(
                $("WITH\n", part!($first), $(",\n", part!($next),)*)?
                read!($file)
            );)*
            /// All of them with their file names.
            #[cfg(test)]
            pub(crate) const ALL: &[(&str, &str)] = &[$(($file, $name)),*];
            /// The text of every file, as it lies in its folder.
            #[cfg(test)]
            pub(crate) const FILES: &[&str] = &[$(read!($file) $(, part!($first) $(, part!($next))*)?),*];
        };
    }

    macro_rules! read {
        ($file:literal) => {
            include_str!(concat!("../../../queries/read/", $file))
        };
    }

    macro_rules! part {
        ($file:literal) => {
            include_str!(concat!("../../../queries/parts/", $file))
        };
    }

    reads! {
        ANY_ACTION = "any_action.sql",
        APPLIED_MIGRATIONS = "applied_migrations.sql",
        CALL = "call.sql",
        CALL_SPANS = "call_spans.sql",
        CALLS = "calls.sql" after "picked_calls.sql",
        CONSISTENCY = "consistency.sql",
        DATASET_ANNOTATED = "dataset_annotated.sql",
        DATASET_CALLS = "dataset_calls.sql",
        DATASET_ROWS = "dataset_rows.sql",
        DATASET_VERSIONS = "dataset_versions.sql",
        EVALUATIONS = "evaluations.sql",
        EVALUATIONS_CALL = "evaluations_call.sql",
        EVAL_CALLS = "eval_calls.sql",
        EVAL_RESULTS = "eval_results.sql",
        EVAL_RUNS = "eval_runs.sql",
        EXISTING_EVENTS = "existing_events.sql",
        EXISTING_SPANS = "existing_spans.sql",
        EXPERIMENT = "experiment.sql",
        EXPERIMENT_START = "experiment_start.sql",
        FACETS = "facets.sql",
        JUDGE_CALLS = "judge_calls.sql",
        JUDGE_RETRIEVALS = "judge_retrievals.sql",
        OUTCOME_ACTIONS = "outcome_actions.sql" after "served_actions.sql",
        OUTCOME_FEEDBACK = "outcome_feedback.sql",
        OUTCOME_POOLS = "outcome_pools.sql",
        OUTCOME_SPEND = "outcome_spend.sql",
        OVERVIEW_LATENCY = "overview_latency.sql",
        OVERVIEW_LATENCY_FILTERED = "overview_latency_filtered.sql" after "picked_calls.sql",
        OVERVIEW_LATENCY_MODELS = "overview_latency_models.sql",
        OVERVIEW_USAGE = "overview_usage.sql",
        OVERVIEW_USAGE_FILTERED = "overview_usage_filtered.sql" after "picked_calls.sql",
        PING = "ping.sql",
        SAMPLE_CALLS = "sample_calls.sql",
        SCHEMA_VIEWS = "schema_views.sql",
        SERVER_VERSION = "server_version.sql",
        SIGNAL_DOLLARS = "signal_dollars_per_useful_action.sql" after "picked_calls.sql" and "served_actions.sql",
        SIGNAL_GROUNDING = "signal_grounding_coverage.sql" after "picked_calls.sql",
        SIGNAL_HALLUCINATION = "signal_hallucination_proxy.sql" after "picked_calls.sql",
        SIGNAL_RETRIEVAL = "signal_retrieval_hit_rate.sql" after "picked_calls.sql",
        SIGNAL_TOOLS = "signal_tool_error_rate.sql" after "picked_calls.sql",
        SIGNAL_TTFT = "signal_time_to_first_token.sql" after "picked_calls.sql",
        UNJUDGED_CALLS = "unjudged_calls.sql",
        VITALS = "vitals.sql",
    }
}

/// Statements of the embedded engine, see [`crate::engine`].
pub(crate) mod engine {
    /// What the engine's own session runs.
    pub(crate) const SERVE: &str = include_str!("../../../queries/engine/serve.sql");
    /// The catalogue entry of the `system` database.
    pub(crate) const SYSTEM: &str = include_str!("../../../queries/engine/system.sql");
}

/// Synthetic calls for measurements.
#[cfg(feature = "testing")]
pub(crate) const LOAD_CALLS: &str = include_str!("../../../queries/load/calls.sql");

/// One migration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    pub(crate) version: u32,
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
}

macro_rules! migrations {
    ($($version:literal = $file:literal),* $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $file,
            sql: include_str!(concat!("../../../queries/schema/", $file)),
        }),*]
    };
}

/// The schema, oldest first.
pub(crate) const MIGRATIONS: &[Migration] = migrations! {
    1 = "0001_spans.sql",
    2 = "0002_calls.sql",
    3 = "0003_attempts.sql",
    4 = "0004_usage.sql",
    5 = "0005_latency.sql",
    6 = "0006_steps.sql",
    7 = "0007_facets.sql",
    8 = "0008_events.sql",
    9 = "0009_evaluations.sql",
    10 = "0010_outcomes.sql",
    11 = "0011_eval_runs.sql",
    12 = "0012_calls_by_end.sql",
    13 = "0013_judging_costs.sql",
    14 = "0014_saved_and_scores.sql",
    15 = "0015_experiment_owner.sql",
};

/// The table of applied migrations, created before any of them.
pub(crate) const MIGRATIONS_TABLE: &str = include_str!("../../../queries/schema/migrations.sql");

#[cfg(all(test, feature = "testing"))]
mod tests;
