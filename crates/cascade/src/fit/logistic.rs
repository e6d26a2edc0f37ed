//! Ridge logistic regression by Newton's method (iteratively reweighted least squares).

use crate::decide::sigmoid;

/// Steps after which it has converged on any data that it is given.
const MOST_STEPS: usize = 40;

/// A row: which columns are not zero, and the outcome of 0 to 1.
pub(super) struct Row {
    pub(super) values: Vec<(usize, f64)>,
    pub(super) outcome: f64,
}

/// Coefficients that minimise the log loss plus half of `penalty[k] · coefficient[k]²`.
pub(super) fn fit(rows: &[Row], penalty: &[f64]) -> Vec<f64> {
    let size = penalty.len();
    let mut coefficients = vec![0.0; size];
    for _ in 0..MOST_STEPS {
        let mut gradient: Vec<f64> = coefficients.iter().zip(penalty).map(|(c, p)| -c * p).collect();
        let mut hessian = vec![vec![0.0; size]; size];
        for (at, row) in hessian.iter_mut().enumerate() {
            // A column that nothing is known of must not make the system singular.
            row[at] = penalty[at].max(1e-9);
        }
        for row in rows {
            let probability = predict(&coefficients, &row.values);
            let weight = (probability * (1.0 - probability)).max(1e-9);
            for (k, value) in &row.values {
                gradient[*k] += (row.outcome - probability) * value;
                for (l, other) in &row.values {
                    hessian[*k][*l] += weight * value * other;
                }
            }
        }
        let step = solve(hessian, gradient);
        // A step of more than this leaves the region where the quadratic means anything.
        let longest = step.iter().fold(0.0_f64, |most, s| most.max(s.abs()));
        let scale = if longest > 4.0 { 4.0 / longest } else { 1.0 };
        coefficients.iter_mut().zip(&step).for_each(|(c, s)| *c += s * scale);
        if longest < 1e-8 {
            break;
        }
    }
    coefficients
}

pub(super) fn predict(coefficients: &[f64], values: &[(usize, f64)]) -> f64 {
    sigmoid(values.iter().map(|(k, value)| coefficients[*k] * value).sum())
}

/// Log loss of some rows.
pub(super) fn loss(rows: &[&Row], coefficients: &[f64]) -> f64 {
    let one = |row: &&Row| {
        let p = predict(coefficients, &row.values).clamp(1e-12, 1.0 - 1e-12);
        -row.outcome * p.ln() - (1.0 - row.outcome) * (1.0 - p).ln()
    };
    rows.iter().map(one).sum()
}

/// Solves a symmetric positive definite system by Cholesky's decomposition.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    for at in 0..size {
        for row in at..size {
            let sum: f64 = (0..at).map(|k| matrix[row][k] * matrix[at][k]).sum();
            let value = matrix[row][at] - sum;
            matrix[row][at] = if row == at { value.max(1e-12).sqrt() } else { value / matrix[at][at] };
        }
    }
    for at in 0..size {
        let sum: f64 = (0..at).map(|k| matrix[at][k] * right[k]).sum();
        right[at] = (right[at] - sum) / matrix[at][at];
    }
    for at in (0..size).rev() {
        let sum: f64 = (at + 1..size).map(|k| matrix[k][at] * right[k]).sum();
        right[at] = (right[at] - sum) / matrix[at][at];
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_of_a_known_model_are_found() {
        // Outcomes are probabilities themselves, so the fit is exact without a penalty.
        let rows: Vec<Row> = (0..200)
            .map(|n| {
                let x = f64::from(n % 20) / 10.0 - 1.0;
                Row { values: vec![(0, 1.0), (1, x)], outcome: sigmoid(0.4 - 1.7 * x) }
            })
            .collect();
        let found = fit(&rows, &[0.0, 0.0]);
        assert!((found[0] - 0.4).abs() < 1e-6 && (found[1] + 1.7).abs() < 1e-6, "{found:?}");
        let shrunk = fit(&rows, &[0.0, 1_000.0]);
        assert!(shrunk[1].abs() < 0.1, "{shrunk:?}");
    }

    #[test]
    fn outcomes_that_are_all_alike_give_finite_coefficients() {
        let rows: Vec<Row> =
            (0..20).map(|n| Row { values: vec![(0, 1.0), (1, f64::from(n))], outcome: 1.0 }).collect();
        assert!(fit(&rows, &[0.1, 0.1]).iter().all(|c| c.is_finite()));
    }
}
