//! What can go wrong between us and ClickHouse, told so that a caller can branch: try again, wait for space, or give up.

use std::time::Duration;

/// How long a writer had better wait before it sends a refused insert again.
const BACK_OFF: Duration = Duration::from_secs(1);
const BACK_OFF_FULL: Duration = Duration::from_secs(10);

/// Why an insert was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    /// The same batch with the same token may be sent again later; it cannot be counted twice.
    #[error("ClickHouse did not take the batch: {reason}")]
    Retryable {
        /// What happened.
        reason: Failure,
        /// How long to wait first.
        after: Duration,
    },
    /// Sending the same batch again fails again.
    #[error("ClickHouse refuses the batch: {reason}")]
    Refused {
        /// What happened.
        reason: Failure,
    },
}

impl InsertError {
    /// Whether the same batch can succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Retryable { .. })
    }
}

/// Why a read, a migration or a ping failed.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// ClickHouse did not do what was asked.
    #[error("{action}: {failure}")]
    Failed {
        /// What we were doing.
        action: String,
        /// What happened.
        failure: Failure,
    },
    /// A migration that was applied differs from the one this binary carries.
    #[error(
        "migration {version} ({name}) was changed after it was applied: expected checksum {expected}, the database has {found}"
    )]
    ChangedMigration {
        /// Number of the migration.
        version: u32,
        /// Its name.
        name: String,
        /// What this binary carries.
        expected: String,
        /// What the database has.
        found: String,
    },
    /// The database was migrated by a newer binary.
    #[error(
        "database {database} is at schema version {found}, this binary knows versions up to {known}: start the newer control-tower that migrated it"
    )]
    NewerDatabase {
        /// Which database.
        database: String,
        /// Its version.
        found: u32,
        /// The newest version we know.
        known: u32,
    },
    /// An argument that cannot be used.
    #[error("{field} {value:?} is not valid: expected {expected}")]
    Invalid {
        /// Which argument.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl WarehouseError {
    /// Whether the same may succeed later: ClickHouse was away, busy or full, which has nothing to do with what was asked.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Failed { failure, .. } => failure.retry_after().is_some(),
            Self::ChangedMigration { .. } | Self::NewerDatabase { .. } | Self::Invalid { .. } => false,
        }
    }
}

/// A failure of ClickHouse or of the way to it, classified.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody answered, or the connection broke.
    #[error("ClickHouse is not reachable: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("ClickHouse took too long: {0}")]
    TimedOut(String),
    /// No space is left on ClickHouse's disk.
    #[error("the disk of ClickHouse is full: free some space or add a disk; ClickHouse says: {0}")]
    DiskFull(String),
    /// ClickHouse, or the read, is at its memory limit.
    #[error(
        "ClickHouse is at its memory limit: narrow the time range, or raise store.memory; ClickHouse says: {0}"
    )]
    MemoryLimit(String),
    /// The read would touch more rows, bytes or time than a read may.
    #[error("the read is larger than allowed: narrow the time range or the filters; ClickHouse says: {0}")]
    TooLarge(String),
    /// It is busy: too many queries or parts.
    #[error("ClickHouse is overloaded: {0}")]
    Overloaded(String),
    /// User or password is wrong, or a grant is missing.
    #[error("ClickHouse denies access: check store.clickhouse_url, user and password; ClickHouse says: {0}")]
    Denied(String),
    /// The database or a table is not there (yet).
    #[error("ClickHouse has no such table: run the migrations first; ClickHouse says: {0}")]
    NotMigrated(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// How long to wait before the same batch is sent again; `None` when that is useless.
    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unreachable(_)
            | Self::TimedOut(_)
            | Self::Overloaded(_)
            | Self::MemoryLimit(_)
            | Self::Denied(_)
            | Self::NotMigrated(_) => Some(BACK_OFF),
            Self::DiskFull(_) => Some(BACK_OFF_FULL),
            Self::TooLarge(_) | Self::Other(_) => None,
        }
    }
}

impl From<clickhouse::error::Error> for Failure {
    fn from(error: clickhouse::error::Error) -> Self {
        use clickhouse::error::Error;
        match error {
            Error::Network(cause) => Self::Unreachable(chain(&*cause)),
            Error::TimedOut => Self::TimedOut("no answer within the time limit".to_owned()),
            Error::BadResponse(text) => classify(text),
            other => Self::Other(chain(&other)),
        }
    }
}

/// Whole story of an error, without saying a cause twice.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Sorts an exception by its code (`Code: 241. DB::Exception: …`); the codes are those of ClickHouse's `ErrorCodes.cpp`.
fn classify(text: String) -> Failure {
    let text = shorten(text);
    match exception_code(&text) {
        // MEMORY_LIMIT_EXCEEDED, CANNOT_ALLOCATE_MEMORY
        Some(241 | 173) => Failure::MemoryLimit(text),
        // NOT_ENOUGH_SPACE
        Some(243) => Failure::DiskFull(text),
        // Several codes wrap the errno of a full disk (CANNOT_WRITE_TO_FILE_DESCRIPTOR, CANNOT_FSYNC, std::exception…).
        _ if text.contains("No space left on device") || text.contains("Disk quota exceeded") => {
            Failure::DiskFull(text)
        }
        // TIMEOUT_EXCEEDED, SOCKET_TIMEOUT, TOO_SLOW
        Some(159 | 209 | 160) => Failure::TimedOut(text),
        // TOO_MANY_ROWS, TOO_MANY_BYTES, TOO_MANY_ROWS_OR_BYTES
        Some(158 | 307 | 396) => Failure::TooLarge(text),
        // TOO_MANY_SIMULTANEOUS_QUERIES, TOO_MANY_PARTS, QUERY_WAS_CANCELLED, TABLE_IS_READ_ONLY, KEEPER_EXCEPTION, ABORTED,
        // NETWORK_ERROR, UNKNOWN_STATUS_OF_INSERT, ALL_CONNECTION_TRIES_FAILED, SESSION_IS_LOCKED, SERVER_OVERLOADED
        Some(202 | 252 | 394 | 242 | 999 | 236 | 210 | 319 | 279 | 373 | 745) => Failure::Overloaded(text),
        // WRONG_PASSWORD, UNKNOWN_USER, AUTHENTICATION_FAILED, ACCESS_DENIED, REQUIRED_PASSWORD
        Some(192..=194 | 497 | 516) => Failure::Denied(text),
        // UNKNOWN_TABLE, UNKNOWN_DATABASE, NO_SUCH_COLUMN_IN_TABLE
        Some(60 | 81 | 16) => Failure::NotMigrated(text),
        None if text.starts_with('5') || text.starts_with("429") => Failure::Overloaded(text),
        _ => Failure::Other(text),
    }
}

/// The number in `Code: 241. DB::Exception: …`.
pub(crate) fn exception_code(text: &str) -> Option<u32> {
    let digits = text.split_once("Code: ")?.1;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// An exception can quote the whole query and the row that it fell over: keep what a person reads.
fn shorten(text: String) -> String {
    const KEEP: usize = 1000;
    if text.len() <= KEEP {
        return text;
    }
    let mut short: String = text.chars().take(KEEP).collect();
    short.push('…');
    short
}

pub(crate) fn insert_error(reason: Failure) -> InsertError {
    match reason.retry_after() {
        Some(after) => InsertError::Retryable { reason, after },
        None => InsertError::Refused { reason },
    }
}

pub(crate) fn failed(action: impl Into<String>) -> impl FnOnce(clickhouse::error::Error) -> WarehouseError {
    let action = action.into();
    move |error| WarehouseError::Failed { action, failure: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Failure {
        clickhouse::error::Error::BadResponse(text.to_owned()).into()
    }

    #[test]
    fn exceptions_are_sorted_by_their_code() {
        assert!(matches!(
            of("Code: 241. DB::Exception: Memory limit (total) exceeded"),
            Failure::MemoryLimit(_)
        ));
        assert!(matches!(of("Code: 243. DB::Exception: Cannot reserve 1.00 MiB"), Failure::DiskFull(_)));
        assert!(matches!(
            of("Code: 75. DB::Exception: Cannot write: , errno: 28, strerror: No space left on device"),
            Failure::DiskFull(_)
        ));
        assert!(matches!(of("Code: 159. DB::Exception: Timeout exceeded"), Failure::TimedOut(_)));
        assert!(matches!(
            of("Code: 516. DB::Exception: control_tower: Authentication failed"),
            Failure::Denied(_)
        ));
        assert!(matches!(of("503 Service Unavailable"), Failure::Overloaded(_)));
        assert!(matches!(of("Code: 62. DB::Exception: Syntax error"), Failure::Other(_)));
    }

    #[test]
    fn only_what_can_pass_later_is_retryable() {
        assert!(insert_error(of("Code: 252. DB::Exception: Too many parts")).is_retryable());
        assert!(insert_error(of("Code: 243. DB::Exception: full")).is_retryable());
        assert!(insert_error(of("Code: 60. DB::Exception: Unknown table")).is_retryable());
        assert!(!insert_error(of("Code: 117. DB::Exception: bad data")).is_retryable());
    }

    #[test]
    fn a_long_exception_is_cut() {
        let Failure::Other(text) = of(&"é".repeat(5000)) else { panic!("expected another failure") };
        assert_eq!(text.chars().count(), 1001);
    }
}
