//! The console on prepared figures, to work on its looks: `cargo run -p web --features ssr --example demo -- 3900`.
//! Sign in as `ada` (admin) or `vera` (viewer) with the password in `tests/support`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for work on the looks")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "prepared figures"
)]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod support;

use runtime::{Clock, ServeOptions, Shutdown};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3900);
    let clock = Clock::system();
    let figures = support::figures::Figures::days(clock.now().unix_millis(), 9_000);
    let stage = support::stage(figures, clock).await;
    let listener = runtime::listen("port", ([127, 0, 0, 1], port).into())?;
    println!("http://{} as ada with {:?}", listener.local_addr()?, support::PASSWORD);
    let _ = runtime::serve(
        listener,
        web::server::router(&stage.state),
        Shutdown::on_signals(),
        ServeOptions::default(),
    )
    .await;
    Ok(())
}
