//! The cost-quality curve as a picture.

use anyhow::{Context, anyhow};
use cascade::fit::report::Report;
use plotters::prelude::*;

const SIZE: (u32, u32) = (860, 520);
const CURVE: RGBColor = RGBColor(0x1f, 0x5f, 0xbf);
const LOT: RGBColor = RGBColor(0x8a, 0x8a, 0x8a);
const ORACLE: RGBColor = RGBColor(0x2e, 0x8b, 0x57);
const SINGLE: RGBColor = RGBColor(0xc0, 0x4a, 0x2b);

/// Draws cost (of the last tier's) against the share of acceptable answers.
pub(super) fn svg(report: &Report) -> anyhow::Result<String> {
    let mut out = String::new();
    draw(report, &mut out).map_err(|error| anyhow!("{error}")).context("drawing the curve")?;
    Ok(out)
}

/// What a text looks like.
fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&BLACK)
}

fn draw(report: &Report, out: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let percent = |(cost, quality): (f64, f64)| (cost * 100.0, quality * 100.0);
    let curve: Vec<(f64, f64)> = report.curve.iter().map(|p| percent((p.cost_share, p.quality))).collect();
    let lot: Vec<(f64, f64)> = report.curve.iter().map(|p| percent((p.cost_share, p.random))).collect();
    let fixed: Vec<(String, (f64, f64), RGBColor)> = report
        .single
        .iter()
        .map(|one| (one, SINGLE))
        .chain([(&report.oracle, ORACLE)])
        .map(|(one, colour)| (one.name.clone(), percent((one.cost_share, one.quality)), colour))
        .collect();
    let all = || curve.iter().chain(&lot).chain(fixed.iter().map(|(_, at, _)| at));
    let low = all().map(|at| at.1).fold(100.0, f64::min);
    let right = all().map(|at| at.0).fold(100.0, f64::max);
    let area = SVGBackend::with_string(out, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..right * 1.02, (low - 2.0).max(0.0)..100.0)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc("cost, % of the last tier's")
        .y_desc("acceptable answers, %")
        .label_style(font(13))
        .axis_desc_style(font(14))
        .draw()?;
    let band: Vec<(f64, f64)> = report
        .curve
        .iter()
        .map(|p| percent((p.cost_share, p.interval[1])))
        .chain(report.curve.iter().rev().map(|p| percent((p.cost_share, p.interval[0]))))
        .collect();
    chart.draw_series([Polygon::new(band, CURVE.mix(0.12))])?;
    chart
        .draw_series(LineSeries::new(lot, LOT.stroke_width(2)))?
        .label("by lot at equal cost")
        .legend(|(x, y)| key(x, y, LOT));
    chart
        .draw_series(LineSeries::new(curve, CURVE.stroke_width(3)))?
        .label("cascade, on prompts not fitted on (95%)")
        .legend(|(x, y)| key(x, y, CURVE));
    for (name, at, colour) in fixed {
        chart.draw_series([Circle::new(at, 5, colour.filled())])?;
        // A name that would leave the picture stands before its point.
        let width = i32::try_from(name.len()).unwrap_or(0) * 7;
        let shift = if at.0 > 60.0 { (-width - 8, 10) } else { (9, 4) };
        chart.draw_series([EmptyElement::at(at) + Text::new(name, shift, font(13))])?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .border_style(BLACK.mix(0.2))
        .background_style(WHITE)
        .label_font(font(13))
        .draw()?;
    area.present()?;
    Ok(())
}

fn key(x: i32, y: i32, colour: RGBColor) -> PathElement<(i32, i32)> {
    PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3))
}
