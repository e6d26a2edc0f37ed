//! What is peculiar to SQLite: the file, who may read it, and how it journals.

use control::Control;
use sqlx::{Connection, Row};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_file_and_its_directory_are_made_and_only_the_owner_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/er dir/control.db");
    let url = format!("sqlite://{}", path.display());
    let control = Control::open(&url).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    for suffix in ["-wal", "-shm"] {
        let mut companion = path.clone().into_os_string();
        companion.push(suffix);
        assert_eq!(mode(Path::new(&companion)), 0o600, "{suffix}");
    }
    control.close().await;

    // A file that others could read is restricted on the next start.
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let control = Control::open(&url).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    control.close().await;
}

#[tokio::test]
async fn it_journals_ahead_and_minds_foreign_keys() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("control.db").display());
    let control = Control::open(&url).await.unwrap();
    let mut raw = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let row = sqlx::query("PRAGMA journal_mode").fetch_one(&mut raw).await.unwrap();
    assert_eq!(row.get::<String, _>(0), "wal");
    control.close().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.db");
    std::fs::write(&path, "this is not a database, but long enough to look at its header".repeat(20))
        .unwrap();
    let error = Control::open(&format!("sqlite://{}", path.display())).await.unwrap_err();
    let mut text = error.to_string();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    assert!(text.contains("could not be opened") && text.contains("not a database"), "{text}");
}
