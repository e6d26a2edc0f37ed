//! How a try at a deployment ended, and who is to blame for it.

use std::time::Duration;

/// How a try ended, classed by whom it speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered to the end.
    Success,
    /// The request was at fault: the deployment would say the same to everybody. Says nothing against it.
    ClientFault,
    /// Too many calls for the deployment or the account; it says how long to stay away, or does not.
    RateLimited {
        /// What `retry-after` said.
        retry_after: Option<Duration>,
    },
    /// The deployment was at fault.
    Fault(Fault),
    /// Nobody waits for the answer any more. Says nothing.
    Cancelled,
    /// The request cannot be put to it, as it may to another: it speaks a protocol that has no place for some of it. Says nothing.
    Unfit,
}

/// What a deployment did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It answered with this status.
    Status(u16),
    /// No connection could be made.
    Connect,
    /// It did not answer in time.
    Timeout,
    /// The connection broke before the answer was whole.
    Cut,
}

impl Outcome {
    /// What an answer's status says, with `retry-after` where it had one. 401 and 403 are the deployment's faults, for the
    /// credentials are its own; so is 408. Success is so far only promised: the body may still break off.
    pub fn of_status(status: u16, retry_after: Option<Duration>) -> Self {
        match status {
            200..=399 => Self::Success,
            429 => Self::RateLimited { retry_after },
            // A server that asks to come back later knows why: so do providers when a region is overloaded.
            503 | 529 if retry_after.is_some() => Self::RateLimited { retry_after },
            401 | 403 | 408 => Self::Fault(Fault::Status(status)),
            400..=499 => Self::ClientFault,
            _ => Self::Fault(Fault::Status(status)),
        }
    }

    /// Whether another try can help.
    pub fn may_retry(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::Fault(_) | Self::Unfit)
    }

    /// Whether the deployment said anything at all, be it good or bad.
    pub(crate) fn is_answer(self) -> bool {
        match self {
            Self::Success | Self::ClientFault | Self::RateLimited { .. } => true,
            Self::Fault(fault) => matches!(fault, Fault::Status(_) | Fault::Cut),
            Self::Cancelled | Self::Unfit => false,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Connect => f.write_str("no connection"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Cut => f.write_str("answer cut short"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_who_is_to_blame() {
        for status in [400, 404, 409, 413, 422, 499] {
            assert_eq!(Outcome::of_status(status, None), Outcome::ClientFault, "{status}");
        }
        for status in [401, 403, 408, 500, 502, 503, 504, 529, 100] {
            assert_eq!(Outcome::of_status(status, None), Outcome::Fault(Fault::Status(status)), "{status}");
        }
        let retry_after = Some(Duration::from_secs(3));
        assert_eq!(Outcome::of_status(429, None), Outcome::RateLimited { retry_after: None });
        assert_eq!(Outcome::of_status(503, retry_after), Outcome::RateLimited { retry_after });
        assert_eq!(Outcome::of_status(200, None), Outcome::Success);
        assert!(!Outcome::ClientFault.may_retry() && !Outcome::Cancelled.may_retry());
        assert!(Outcome::Unfit.may_retry() && !Outcome::Unfit.is_answer());
    }
}
