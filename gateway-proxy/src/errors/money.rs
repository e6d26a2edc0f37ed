//! What a client is told when it is a matter of money.

use contracts::policy::Model;
use contracts::policy::budget::Window;
use contracts::{ApiError, Fault};

/// A budget refuses, or nobody can tell whether it would.
pub(super) fn over_budget(refused: &budget::Refused) -> ApiError {
    let exhausted = match refused {
        budget::Refused::Exhausted(exhausted) => exhausted,
        budget::Refused::Unavailable(_) => {
            let error = ApiError::internal(503, refused.to_string());
            return super::retry_in(2, ApiError { code: Some("budget_unavailable"), ..error });
        }
    };
    let account = &exhausted.account;
    // What the tenants of an organisation spend together is not for each of them to know.
    let message = if account.is_of_organisation() {
        format!("a budget of your organisation has too little left in this {}", account.window)
    } else {
        refused.to_string()
    };
    let soon = renews_soon(exhausted);
    let (kind, code) = if soon {
        ("rate_limit_error", "rate_limit_exceeded")
    } else {
        ("insufficient_quota", "insufficient_quota")
    };
    let error = ApiError::client(429, kind, Some(code), message);
    let wait = exhausted.wait().filter(|_| fits(exhausted)).map(|wait| super::seconds(wait).max(1));
    ApiError { fault: Fault::Policy, retryable: soon, retry_after_seconds: wait, ..error }
}

/// Whether a budget is one of those that a client can wait for.
pub(crate) fn renews_soon(exhausted: &budget::Exhausted) -> bool {
    matches!(exhausted.account.window, Window::Minute | Window::Hour) && fits(exhausted)
}

/// Whether what was asked for fits into the budget when nothing is spent of it.
fn fits(exhausted: &budget::Exhausted) -> bool {
    exhausted.asked <= exhausted.account.limit
}

/// Under a budget nothing is asked of which nobody knows what it costs.
pub(super) fn unpriced(model: &Model) -> ApiError {
    let message = format!(
        "the model {}: a budget applies, and the price book has no price of {:?} at {:?}: expected one, of 0 if it is free, or the name of one in the model's price_as",
        model.name,
        model.price_name(),
        model.provider.price_as,
    );
    let error = ApiError { code: Some("model_not_priced"), ..ApiError::internal(503, message) };
    ApiError { fault: Fault::Policy, retryable: false, ..error }
}

/// Under a budget nothing is asked of which nobody can say what it costs at most.
pub(super) fn unbounded(field: &str) -> ApiError {
    let message = format!(
        "{field}: a budget applies, and what this costs is not bounded by the request: expected a request that carries all of its prompt, and no tools that run at the provider"
    );
    let error = ApiError::invalid(field.split(':').next().unwrap_or_default(), message);
    ApiError { code: Some("cost_not_bounded"), fault: Fault::Policy, ..error }
}
