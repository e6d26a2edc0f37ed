//! Small line charts in plain SVG: readable before and without scripts.

use leptos::prelude::*;
use std::fmt::Write as _;

/// Path data of a polyline through `values`, scaled into `width` × `height` with 1 unit of air above and below. Gaps
/// (`None`) break the line. `top` is the value at the upper edge.
pub(crate) fn line_path(values: &[Option<f64>], top: f64, width: f64, height: f64) -> String {
    let mut path = String::new();
    let mut pen_down = false;
    for (i, value) in values.iter().enumerate() {
        let Some(value) = value else {
            pen_down = false;
            continue;
        };
        let (x, y) = point(i, *value, values.len(), top, width, height);
        let alone = !pen_down && !matches!(values.get(i + 1), Some(Some(_)));
        if alone {
            // A line of one point would not be seen.
            let _ = write!(path, "M{:.1} {y:.1}h3", x - 1.5);
            continue;
        }
        // Writing to a `String` cannot fail.
        let _ = write!(path, "{}{x:.1} {y:.1}", if pen_down { 'L' } else { 'M' });
        pen_down = true;
    }
    path
}

/// The same, closed down to the bottom edge; gaps count as zero.
pub(crate) fn area_path(values: &[Option<f64>], top: f64, width: f64, height: f64) -> String {
    let filled: Vec<Option<f64>> = values.iter().map(|v| Some(v.unwrap_or(0.0))).collect();
    format!("{}L{width:.1} {height:.1}L0 {height:.1}Z", line_path(&filled, top, width, height))
}

#[expect(clippy::cast_precision_loss, reason = "indices of at most some hundred points")]
fn point(i: usize, value: f64, len: usize, top: f64, width: f64, height: f64) -> (f64, f64) {
    let x = if len > 1 { i as f64 / (len - 1) as f64 * width } else { width / 2.0 };
    let share = if top > 0.0 { (value / top).clamp(0.0, 1.0) } else { 0.0 };
    (x, 1.0 + (height - 2.0) * (1.0 - share))
}

/// The greatest of `values`, zero when there is none.
pub(crate) fn greatest(values: &[Option<f64>]) -> f64 {
    values.iter().flatten().copied().filter(|v| v.is_finite()).fold(0.0, f64::max)
}

/// A sparkline: the shape of a figure over the range, without axes.
#[component]
pub(crate) fn Sparkline(values: Vec<Option<f64>>) -> impl IntoView {
    let top = greatest(&values);
    view! {
        <svg class="spark" viewBox="0 0 120 28" preserveAspectRatio="none" aria-hidden="true">
            <path class="spark-area" d=area_path(&values, top, 120.0, 28.0)></path>
            <path class="spark-line" d=line_path(&values, top, 120.0, 28.0)></path>
        </svg>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_spans_the_box_and_breaks_at_gaps() {
        let path = line_path(&[Some(0.0), Some(10.0), None, Some(5.0)], 10.0, 30.0, 12.0);
        assert_eq!(path, "M0.0 11.0L10.0 1.0M28.5 6.0h3");
    }

    #[test]
    fn odd_values_stay_inside() {
        assert!(greatest(&[None, Some(f64::NAN), Some(f64::INFINITY)]).abs() < f64::EPSILON);
        assert_eq!(line_path(&[Some(3.0)], 0.0, 10.0, 10.0), "M3.5 9.0h3");
    }
}
