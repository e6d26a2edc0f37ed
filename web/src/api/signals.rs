//! The golden signals for a URL's query.

use super::Problem;
use super::types::SignalsAnswer;

/// The golden signals for a URL's query, but for the time to the first token, which the Overview has of its own.
pub async fn signals(search: String) -> Result<SignalsAnswer, Problem> {
    let mark = if search.is_empty() { '?' } else { '&' };
    let search = format!("{search}{mark}first_token=false");
    #[cfg(feature = "ssr")]
    {
        crate::server::reads::signals(&crate::server::page::viewer()?, &search).await.map_err(Problem::from)
    }
    #[cfg(not(feature = "ssr"))]
    {
        super::browser::get(&format!("/api/v1/signals{search}")).await
    }
}
