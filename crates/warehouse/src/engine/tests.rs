//! What can be told without an engine.

use super::*;
use std::path::Path;

fn config(dir: &Path) -> EngineConfig {
    EngineConfig {
        library: vec![dir.join("libchdb.so")],
        path: dir.join("store"),
        http_port: 1,
        tcp_port: 2,
        memory_bytes: MEMORY_MIN,
        user: "control_tower".to_owned(),
        password: "0123456789abcdef".to_owned(),
        database: "control_tower".to_owned(),
        reader: Some(reader("reader", "fedcba9876543210")),
    }
}

fn reader(user: &str, password: &str) -> Reader {
    Reader { user: user.to_owned(), password: password.to_owned() }
}

#[test]
fn the_library_is_looked_for_in_order() {
    let path = |text: &'static str| Some(Path::new(text));
    let places = searched_places(None, path("/opt/bin/control-tower"), path("/data"), path("/home/u/.cache"));
    let cached = format!("/home/u/.cache/control-tower/engine/{ENGINE_VERSION}/libchdb.so");
    let expected = ["/opt/bin/libchdb.so", "/data/engine/libchdb.so", &cached].map(PathBuf::from);
    assert_eq!(places, expected);
    let only = searched_places(path("/x/lib.so"), path("/opt/bin/control-tower"), None, None);
    assert_eq!(only, [PathBuf::from("/x/lib.so")]);
}

#[test]
fn a_missing_library_says_where_it_was_looked_for_and_how_to_get_it() {
    let dir = tempfile::tempdir().unwrap();
    let error = run(&config(dir.path())).unwrap_err().to_string();
    let place = dir.path().join("libchdb.so").display().to_string();
    for part in
        [place.as_str(), "cargo xtask engine", "CONTROL_TOWER__STORE__ENGINE_LIBRARY", "clickhouse_url"]
    {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_file_that_is_no_library_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("libchdb.so"), "not a library").unwrap();
    let config = EngineConfig { http_port: free(), tcp_port: free(), ..config(dir.path()) };
    let error = run(&config).unwrap_err();
    assert!(matches!(&error, EngineError::Load { path, .. } if path.ends_with("libchdb.so")), "{error}");
}

fn free() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_directory_in_use_names_its_holder() {
    let dir = tempfile::tempdir().unwrap();
    let held = lock::acquire(dir.path()).unwrap();
    let error = lock::acquire(dir.path()).unwrap_err().to_string();
    assert!(error.contains(&std::process::id().to_string()), "{error}");
    assert!(error.contains(&dir.path().display().to_string()), "{error}");
    drop(held);
    lock::acquire(dir.path()).unwrap();
}

#[test]
fn a_taken_port_names_its_key() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("libchdb.so"), "").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = EngineConfig { http_port: port, ..config(dir.path()) };
    let error = run(&config).unwrap_err().to_string();
    assert!(error.contains(&format!("store.http_port {port}")), "{error}");
}

#[test]
fn bad_values_name_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let good = config(dir.path());
    good.validate().unwrap();
    for (bad, field) in [
        (EngineConfig { user: "default".to_owned(), ..good.clone() }, "store.user \"default\""),
        (EngineConfig { database: "a-b".to_owned(), ..good.clone() }, "store.database \"a-b\""),
        (EngineConfig { password: "short".to_owned(), ..good.clone() }, "store.password"),
        (
            EngineConfig { reader: Some(reader("control_tower", "fedcba9876543210")), ..good.clone() },
            "store.reader_user \"control_tower\"",
        ),
        (
            EngineConfig { reader: Some(reader("a b", "fedcba9876543210")), ..good.clone() },
            "store.reader_user",
        ),
        (EngineConfig { reader: Some(reader("r", "short")), ..good.clone() }, "store.reader_password"),
        (EngineConfig { memory_bytes: 1, ..good.clone() }, "store.memory \"1\""),
        (EngineConfig { tcp_port: 0, ..good.clone() }, "store.tcp_port \"0\""),
    ] {
        let error = bad.validate().unwrap_err().to_string();
        assert!(error.contains(field) && error.contains("expected"), "{error}");
        assert!(!error.contains("short"), "{error}");
    }
    let shown = format!("{good:?}");
    assert!(!shown.contains("0123456789abcdef") && !shown.contains("fedcba9876543210"), "{shown}");
}

#[test]
fn the_password_is_not_written_down_and_the_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let config_file = files::prepare(&config(dir.path())).unwrap();
    for path in [config_file.clone(), config_file.with_file_name("users.xml")] {
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("0123456789abcdef") && !text.contains("fedcba9876543210"));
    }
    assert!(dir.path().join("store/metadata/system.sql").is_file());
}
