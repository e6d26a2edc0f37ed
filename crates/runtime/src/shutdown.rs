//! The orderly end of a process: one token that everything long-running watches.

use std::io::Read;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Says when to stop. Cloning shares the decision.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Stops on SIGTERM or SIGINT. A second signal ends the process at once, with exit code 130, for an operator who does
    /// not want to wait for the drain. Must be called within a tokio runtime.
    pub fn on_signals() -> Self {
        let shutdown = Self::manual();
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                let token = shutdown.token();
                tokio::spawn(async move {
                    // Only signals are counted: a service manager sends one to every process of a group, which may find us
                    // stopping already because our parent got it first.
                    let mut asked = false;
                    loop {
                        tokio::select! {
                            _ = terminate.recv() => {}
                            _ = interrupt.recv() => {}
                        }
                        if asked {
                            tracing::warn!("stopping at once: asked a second time");
                            std::process::exit(130);
                        }
                        asked = true;
                        tracing::info!("stopping: asked by a signal");
                        token.cancel();
                    }
                });
            }
            (Err(error), _) | (_, Err(error)) => {
                // Without handlers a signal still ends the process, only without a drain.
                tracing::error!(%error, "signals cannot be watched: a stop will not drain");
            }
        }
        shutdown
    }

    /// Stops only when triggered.
    pub fn manual() -> Self {
        Self::default()
    }

    /// Also stops when standard input ends: a supervisor holds the other end of the pipe, so its death, however sudden,
    /// is seen here.
    #[must_use]
    pub fn with_parent_watch(self) -> Self {
        let token = self.token();
        // A thread of its own, never joined: a read of standard input cannot be cancelled.
        let watch = std::thread::Builder::new().name("parent-watch".into()).spawn(move || {
            let mut sink = [0_u8; 256];
            let mut stdin = std::io::stdin().lock();
            loop {
                match stdin.read(&mut sink) {
                    Ok(0) => break,
                    Err(error) if error.kind() != std::io::ErrorKind::Interrupted => break,
                    Ok(_) | Err(_) => {}
                }
            }
            if !token.is_cancelled() {
                tracing::info!("stopping: the parent process is gone");
                token.cancel();
            }
        });
        if let Err(error) = watch {
            tracing::error!(%error, "the parent process cannot be watched");
        }
        self
    }

    /// Cancelled when it is time to stop. Holders may derive child tokens from it.
    pub fn token(&self) -> CancellationToken {
        self.0.clone()
    }

    /// Stops now.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether it is time to stop.
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns when it is time to stop.
    pub async fn triggered(&self) {
        self.0.cancelled().await;
    }
}
