//! The console in a real browser, over a tower with calls in it. What it must hold is in `web/tests/browser/console.mjs`.

use crate::tower::Tower;
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[tokio::test]
async fn the_console_works_in_a_browser() {
    let config = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(config.path(), "[evaluator]\nsettle = \"1s\"\npoll = \"200ms\"\nlookback = \"1m\"\n")
        .unwrap();
    let tower = Tower::start_with(config.path()).await;
    let key = tower.text("/tenant_key").to_owned();
    let tool = json!([{"type": "function", "function": {"name": "get_weather", "parameters":
        {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}}}]);
    for index in 0..24 {
        let model = ["sim-small", "sim-large", "sim-reasoning", "sim-error-500"][index % 4];
        let text = format!("Question {index}: use get_weather for Oslo");
        let mut asked = json!({"model": model, "messages": [{"role": "user", "content": text}], "stream": index % 3 == 0});
        if index % 5 == 0 {
            asked["tools"] = tool.clone();
        } else {
            asked["control_tower"] =
                json!({"context": [{"id": "d1", "text": "Oslo is the capital of Norway."}]});
        }
        tower.http.call(&tower.gateway("/v1/chat/completions"), &key, &asked).await;
    }
    tower.wait_for("SELECT count() AS n FROM calls", 24, Duration::from_secs(30)).await;
    // Every fourth call fails, and every fifth is asked for a tool: the others are answers with a context to rest on.
    let judged = "SELECT count() AS n FROM evaluations WHERE judge = 'grounding' AND score IS NOT NULL";
    tower.wait_for(judged, 14, Duration::from_mins(1)).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/tests/browser");
    if !folder.join("node_modules/playwright-core").is_dir() {
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        let installed = Command::new("npm").args(install).current_dir(&folder).output().unwrap();
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    }
    // The binary is built with or without the browser's assets; the script must know which console it meets.
    let hydration = if option_env!("CONTROL_TOWER_CONSOLE_DIR").is_some() { "present" } else { "absent" };
    let output = Command::new("node")
        .arg(folder.join("console.mjs"))
        .args([tower.text("/console_url"), tower.text("/console_user"), tower.text("/console_password")])
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("console-screenshots"))
        .env("HYDRATION", hydration)
        .output()
        .unwrap();
    let (printed, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}\n{errors}");
    tower.stop().await;
}
