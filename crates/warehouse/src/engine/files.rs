//! The engine's configuration, written beside its data at each start: limits, users and the catalogue entry of the `system`
//! database. Nothing in it is meant to be edited.

use super::{EngineConfig, EngineError, Reader};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Space on the disk that the engine leaves alone: an insert fails cleanly before merges and logs do.
pub(super) const KEEP_FREE_BYTES: u64 = 256 << 20;

/// Writes the files and returns the path of `config.xml`.
pub(super) fn prepare(config: &EngineConfig) -> Result<PathBuf, EngineError> {
    // The engine runs where the process is started; its configuration must not depend on that.
    let data = std::path::absolute(&config.path).map_err(|e| fail("find", &config.path, e))?;
    let dir = data.join("config");
    for dir in [&dir, &data.join("metadata"), &data.join("tmp")] {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| fail("create", dir, e))?;
    }
    let users = dir.join("users.xml");
    write(&users, &users_xml(config))?;
    let config_file = dir.join("config.xml");
    write(&config_file, &config_xml(config, &data, &users))?;
    // Without an entry of its own the `system` database lives in memory, and the second start cannot find its log tables.
    let system = data.join("metadata/system.sql");
    if !system.exists() {
        write(&system, crate::queries::engine::SYSTEM)?;
    }
    Ok(config_file)
}

fn fail(action: &'static str, path: &Path, source: io::Error) -> EngineError {
    if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return EngineError::DiskFull { path: path.to_owned() };
    }
    EngineError::Io { action, path: path.to_owned(), source }
}

fn write(path: &Path, text: &str) -> Result<(), EngineError> {
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|e| fail("write", path, e))
}

/// Limits: memory at half the budget because the engine overshoots its own limit by up to 70%; caches small, since a laptop's
/// page cache does the same work; write buffers that grow with their column, since a span has a hundred streams and each would
/// start at a megabyte (an insert of 50,000 calls took 400 MB, and takes 90); few threads; no listener but loopback.
/// System logs are off because no section names them.
fn config_xml(config: &EngineConfig, data: &Path, users: &Path) -> String {
    let memory = config.memory_bytes / 2;
    let cache = (memory / 16).min(512 << 20);
    format!(
        "<clickhouse>
  <!-- Written by control-tower at each start; changes are lost. -->
  <users_config>{users}</users_config>
  <tmp_path>{tmp}</tmp_path>
  <listen_host>127.0.0.1</listen_host>
  <timezone>UTC</timezone>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <mark_cache_size>{cache}</mark_cache_size>
  <primary_index_cache_size>{cache}</primary_index_cache_size>
  <index_mark_cache_size>{small}</index_mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <index_uncompressed_cache_size>{small}</index_uncompressed_cache_size>
  <query_cache><max_size_in_bytes>{small}</max_size_in_bytes></query_cache>
  <max_concurrent_queries>100</max_concurrent_queries>
  <max_connections>512</max_connections>
  <keep_alive_timeout>60</keep_alive_timeout>
  <background_pool_size>2</background_pool_size>
  <background_merges_mutations_concurrency_ratio>2</background_merges_mutations_concurrency_ratio>
  <background_schedule_pool_size>8</background_schedule_pool_size>
  <merge_tree>
    <min_columns_to_activate_adaptive_write_buffer>1</min_columns_to_activate_adaptive_write_buffer>
    <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
  </merge_tree>
  <storage_configuration>
    <disks><default><keep_free_space_bytes>{KEEP_FREE_BYTES}</keep_free_space_bytes></default></disks>
  </storage_configuration>
</clickhouse>
",
        users = escape(&users.display().to_string()),
        tmp = escape(&format!("{}/", data.join("tmp").display())),
        small = 16 << 20,
    )
}

/// Users. `default` needs no password, so its one allowed session is the engine's own: nobody else gets in as it. Our user
/// may do anything to our databases and read `system`, but nothing that reaches files, URLs or other servers: those table
/// functions need grants of their own, which it lacks. The reader may read our databases: it has no grant to write, and could not use one,
/// for it may change its settings but not that it only reads.
fn users_xml(config: &EngineConfig) -> String {
    let (user, database) = (&config.user, &config.database);
    let password = hex::encode(Sha256::digest(config.password.as_bytes()));
    let query_memory = config.memory_bytes / 2 / 10 * 8;
    let reader = config.reader.as_ref().map(|reader| reader_xml(reader, database)).unwrap_or_default();
    format!(
        "<clickhouse>
  <!-- Written by control-tower at each start; changes are lost. -->
  <profiles>
    <default><max_sessions_for_user>1</max_sessions_for_user></default>
    <control_tower>
      <max_memory_usage>{query_memory}</max_memory_usage>
      <log_queries>0</log_queries>
      <max_sessions_for_user>0</max_sessions_for_user>
    </control_tower>
    <reader>
      <profile>control_tower</profile>
      <readonly>2</readonly>
    </reader>
  </profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password></password>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
    </default>
    <{user}>
      <password_sha256_hex>{password}</password_sha256_hex>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>control_tower</profile>
      <quota>default</quota>
      <grants>
        <query>GRANT SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP, TRUNCATE, OPTIMIZE, SHOW ON {database}*.*</query>
        <query>GRANT TABLE ENGINE ON MergeTree, TABLE ENGINE ON AggregatingMergeTree</query>
        <query>GRANT SELECT, SHOW ON system.*</query>
        <query>GRANT SELECT, SHOW ON INFORMATION_SCHEMA.*</query>
      </grants>
    </{user}>{reader}
  </users>
</clickhouse>
"
    )
}

fn reader_xml(reader: &Reader, database: &str) -> String {
    let user = &reader.user;
    let password = hex::encode(Sha256::digest(reader.password.as_bytes()));
    format!(
        "
    <{user}>
      <password_sha256_hex>{password}</password_sha256_hex>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>reader</profile>
      <quota>default</quota>
      <grants>
        <query>GRANT SELECT, SHOW ON {database}*.*</query>
      </grants>
    </{user}>"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
