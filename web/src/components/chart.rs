//! A time series. The server draws it as SVG; where scripts run, the element `ct-chart` draws it again with axes, a
//! crosshair and a legend of the values under it (`assets/console.js`). A drag across it zooms into that stretch.

use super::spark::{area_path, greatest, line_path};
use crate::format;
use contracts::Usd;
use leptos::prelude::*;
use serde::Serialize;

/// What a chart's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    /// Things.
    Count,
    /// US dollars.
    Usd,
    /// Milliseconds.
    Ms,
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mark {
    /// A line.
    Line,
    /// A line over a filled area.
    Area,
    /// A bar for each bucket.
    Bar,
}

/// One series of a chart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Series {
    /// Its name in the legend.
    pub(crate) label: &'static str,
    /// The custom property that holds its colour, such as `--chart-1`.
    pub(crate) color: &'static str,
    /// How it is drawn.
    pub(crate) mark: Mark,
    /// One value a bucket; `null` where nothing was measured.
    pub(crate) values: Vec<Option<f64>>,
}

#[derive(Serialize)]
struct Spec<'a> {
    unit: Unit,
    /// Starts of the buckets, seconds since the epoch.
    times: Vec<i64>,
    bucket: u32,
    series: &'a [Series],
}

/// A chart with its title.
#[component]
pub(crate) fn Chart(
    /// What it shows.
    title: &'static str,
    /// Unit of its values.
    unit: Unit,
    /// Width of a bucket, seconds.
    bucket: u32,
    /// Starts of the buckets, milliseconds since the epoch.
    starts_ms: Vec<i64>,
    /// One or more series of as many values.
    series: Vec<Series>,
) -> impl IntoView {
    let times = starts_ms.iter().map(|ms| ms.div_euclid(1_000)).collect();
    let spec = serde_json::to_string(&Spec { unit, times, bucket, series: &series }).unwrap_or_default();
    let top = series.iter().map(|s| greatest(&s.values)).fold(0.0, f64::max);
    let legend =
        series.iter().map(|s| view! { <li><i class=swatch(s.color)></i>{s.label}</li> }).collect_view();
    let lines = series
        .iter()
        .map(|s| {
            let fill = (s.mark != Mark::Line).then(|| {
                view! { <path class=format!("{} fill", swatch(s.color)) d=area_path(&s.values, top, 600.0, 160.0)></path> }
            });
            view! {
                {fill}
                <path class=swatch(s.color) d=line_path(&s.values, top, 600.0, 160.0)></path>
            }
        })
        .collect_view();
    view! {
        <figure class="card chart">
            <figcaption>
                <h2>{title}</h2>
                <ul class="legend">{legend}</ul>
            </figcaption>
            <div class="plot">
                <div class="plot-still">
                    <span class="num">{at_top(unit, top)}</span>
                    <svg viewBox="0 0 600 160" preserveAspectRatio="none" role="img" aria-label=title>
                        <path class="grid-line" d="M0 1H600M0 80H600M0 159H600"></path>
                        {lines}
                    </svg>
                </div>
                <ct-chart data-spec=spec></ct-chart>
            </div>
        </figure>
    }
    .into_any()
}

fn swatch(color: &str) -> String {
    color.trim_start_matches("--").to_owned()
}

fn at_top(unit: Unit, top: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an axis label")]
    match unit {
        Unit::Count => format::count(top.max(0.0).round() as u64),
        Unit::Usd => format::usd(Usd::from_picos((top * 1e12) as i128)),
        Unit::Ms => format::duration(top),
    }
}
