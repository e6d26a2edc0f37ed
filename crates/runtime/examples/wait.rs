//! Waits for its end and says what it sees on standard output. The test `shutdown` ends it in every way there is.

use runtime::Shutdown;
use std::io::Write;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let shutdown = Shutdown::on_signals().with_parent_watch();
    say("waiting\n")?;
    shutdown.triggered().await;
    say("asked to stop\n")?;
    // A drain that takes as long as anybody lets it.
    std::future::pending().await
}

fn say(line: &str) -> std::io::Result<()> {
    std::io::stdout().lock().write_all(line.as_bytes())
}
