//! Spends from the ledger in the directory given until it is killed, and says on standard output what it did: `sent TASK NUMBER
//! HELD` once a call may be billed, `paid TASK NUMBER` once it is settled. The test `kill` kills it.

use budget::{Account, Accounts, JournalOptions, Ledger, Origin, WhenGatewayDies};
use contracts::policy::budget::Window;
use contracts::{Timestamp, Usd};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

const TASKS: i128 = 3;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let dir = std::env::args_os().nth(1).ok_or("expected the directory of a ledger")?;
    let options = JournalOptions {
        fsync_interval: Duration::from_millis(3),
        compact_bytes: 20_000,
        ..JournalOptions::new(dir)
    };
    let ledger = Ledger::local(options, WhenGatewayDies::Charge)?;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(spend(ledger.clone(), task));
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

async fn spend(ledger: Ledger, task: i128) -> Outcome {
    let now = Timestamp::from_unix_seconds(1_790_000_000);
    let account = |id: &str, window| Account {
        id: id.into(),
        subject: id.into(),
        origin: Origin::Budget,
        limit: Usd::from_picos(i128::MAX),
        soft: None,
        window,
    };
    let accounts =
        Arc::new(Accounts::new("acme", [account("all", Window::Total), account("day", Window::Day)]));
    for number in 0_i128.. {
        // Powers that tell from a sum which calls are in it: each task counts in its own digits.
        let held = Usd::from_picos(1_000_000_i128.pow(u32::try_from(task)?) * 2);
        let mut hold = ledger.reserve(&accounts, held, now).await?;
        hold.dispatch().await?;
        say(&format!("sent {task} {number}\n"))?;
        hold.settle(Usd::from_picos(held.picos() / 2)).await;
        say(&format!("paid {task} {number}\n"))?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// One line, written with one call: what is in the pipe outlives us.
fn say(line: &str) -> std::io::Result<()> {
    std::io::stdout().lock().write_all(line.as_bytes())
}
