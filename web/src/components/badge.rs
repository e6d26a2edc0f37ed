//! Small marks: how a call ended, whether a key works.

use leptos::prelude::*;

/// The colour of a mark, by what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Broken.
    Bad,
    /// Neither.
    Quiet,
}

impl Tone {
    /// The class that gives it its colour.
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Good => "badge good",
            Self::Warn => "badge warn",
            Self::Bad => "badge bad",
            Self::Quiet => "badge quiet",
        }
    }

    /// The tone of an HTTP status.
    pub(crate) const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Good,
            429 | 499 => Self::Warn,
            0 => Self::Quiet,
            _ => Self::Bad,
        }
    }
}

/// A word with a colour.
#[component]
pub(crate) fn Badge(
    /// Its colour.
    tone: Tone,
    /// The word.
    #[prop(into)]
    text: String,
    /// More of it, on hover.
    #[prop(optional, into)]
    title: Option<String>,
) -> impl IntoView {
    view! { <span class=tone.class() title=title>{text}</span> }
}
