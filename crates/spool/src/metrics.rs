//! A spool's figures for Prometheus, read when they are asked for.

use crate::Writer;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;

/// What a spool holds, and what became of its records, as metrics that begin with `{owner}_spool_`.
#[derive(Debug)]
pub struct Metrics {
    owner: &'static str,
    spool: Writer,
}

impl Metrics {
    /// Of `spool`, which is `owner`'s.
    pub const fn new(owner: &'static str, spool: Writer) -> Self {
        Self { owner, spool }
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = self.spool.stats();
        let name = |figure: &str| format!("{}_spool_{figure}", self.owner);
        for (figure, help, value) in [
            ("bytes", "Bytes of the spool on disk", stats.bytes),
            ("max_bytes", "Bound of the spool", stats.max_bytes),
            ("pending_bytes", "Bytes that have not been taken on yet", stats.pending_bytes),
            ("oldest_seconds", "How long the oldest of these has waited", stats.oldest.as_secs()),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let name = name(figure);
            let described = encoder.encode_descriptor(&name, help, None, gauge.metric_type())?;
            gauge.encode(described)?;
        }
        for (figure, help, value) in [
            ("records", "Records appended", stats.records),
            ("refused", "Records refused because it was full", stats.refused),
            ("dropped", "Records dropped because it was full", stats.dropped),
            ("lost", "Records not taken of which nobody could be told", stats.lost),
            ("corrupt", "Stretches found damaged and skipped", stats.corrupt),
            ("torn", "Torn ends that were cut off at the start", stats.torn),
            ("write_errors", "Failed writes", stats.write_errors),
            ("sync_errors", "Failed syncs", stats.sync_errors),
            ("read_errors", "Failed reads, each tried again", stats.read_errors),
        ] {
            let counter = ConstCounter::new(value);
            let name = name(figure);
            let described = encoder.encode_descriptor(&name, help, None, counter.metric_type())?;
            counter.encode(described)?;
        }
        Ok(())
    }
}
