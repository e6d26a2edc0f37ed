//! The golden signals for a URL's query.

use super::Problem;
use super::types::SignalsAnswer;
#[cfg(feature = "ssr")]
use std::time::Duration;

/// How long a page waits for them before it goes out without.
#[cfg(feature = "ssr")]
const PATIENCE: Duration = Duration::from_millis(150);

/// The golden signals for a URL's query, but for the time to the first token, which the Overview has of its own. Some read single calls,
/// of which there may be many: `None` tells a browser to ask for itself, so that no page waits for them.
pub async fn signals(search: String) -> Result<Option<SignalsAnswer>, Problem> {
    let mark = if search.is_empty() { '?' } else { '&' };
    let search = format!("{search}{mark}first_token=false");
    #[cfg(feature = "ssr")]
    {
        let viewer = crate::server::page::viewer()?;
        let read = crate::server::reads::signals(&viewer, &search);
        match tokio::time::timeout(PATIENCE, read).await {
            Ok(answer) => answer.map(Some).map_err(Problem::from),
            Err(_) => Ok(None),
        }
    }
    #[cfg(not(feature = "ssr"))]
    {
        super::browser::get(&format!("/api/v1/signals{search}")).await.map(Some)
    }
}
