//! The answer cache's figures for Prometheus, read when they are asked for.

use cache::AnswerCache;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;

/// What a cache holds, and what became of those who asked it, as metrics that begin with `gateway_answer_cache_`.
#[derive(Debug)]
pub(crate) struct CacheMetrics(pub(super) AnswerCache);

impl Collector for CacheMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let usage = self.0.usage();
        let (name, help) =
            ("gateway_answer_cache_hits", "Calls that were given an answer of before, by how it was found");
        let mut hits = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (kind, value) in [("exact", usage.hits_exact), ("semantic", usage.hits_semantic)] {
            ConstCounter::new(value).encode(hits.encode_family(&[("kind", kind)])?)?;
        }
        let saved = u64::try_from(usage.saved.picos()).unwrap_or(0);
        for (figure, help, value) in [
            ("misses", "Calls for which there was no answer of before", usage.misses),
            ("waited", "Hits that waited for the answer to the same request", usage.waited),
            ("vetoed", "Similar questions that were held apart because their facts differ", usage.vetoed),
            (
                "not_embedded",
                "Questions that were not compared: the embedder was busy or failed",
                usage.not_embedded,
            ),
            ("evicted", "Answers that had to go for others", usage.evicted),
            ("not_shared", "Answers that Redis did not get: it was away or too slow", usage.not_shared),
            ("saved_picodollars", "What hits would have cost, 10^-12 USD", saved),
        ] {
            let counter = ConstCounter::new(value);
            let name = format!("gateway_answer_cache_{figure}");
            counter.encode(encoder.encode_descriptor(&name, help, None, counter.metric_type())?)?;
        }
        for (figure, help, value) in
            [("entries", "Answers held", usage.entries), ("bytes", "Bytes of the answers held", usage.bytes)]
        {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let name = format!("gateway_answer_cache_{figure}");
            gauge.encode(encoder.encode_descriptor(&name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
