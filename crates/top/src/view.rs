//! What was heard last, and how it is looked at.

use contracts::live::Live;

/// A part of what goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pane {
    /// Deployments, and how they do.
    Pools,
    /// What waits before them.
    Queues,
    /// Budgets and their use.
    Budgets,
    /// Answers that are given again.
    Caches,
    /// The gateways themselves.
    Gateways,
}

impl Pane {
    /// In the order in which they are walked through.
    pub const ALL: [Self; 5] = [Self::Pools, Self::Queues, Self::Budgets, Self::Caches, Self::Gateways];

    /// Its heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Pools => "Pools",
            Self::Queues => "Queues",
            Self::Budgets => "Budgets",
            Self::Caches => "Caches",
            Self::Gateways => "Gateways",
        }
    }

    /// What it can be sorted by, the first at the start.
    pub(crate) const fn orders(self) -> &'static [&'static str] {
        match self {
            Self::Pools => &["name", "state", "calls", "latency"],
            Self::Queues => &["name", "waiting", "wait"],
            Self::Budgets => &["used", "spent", "name"],
            Self::Caches => &["bytes", "entries", "name"],
            Self::Gateways => &["name", "calls", "spool"],
        }
    }
}

/// A key that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// To the next pane.
    Next,
    /// To the one before.
    Previous,
    /// To a pane by its number, from 1.
    Number(usize),
    /// A row up.
    Up,
    /// A row down.
    Down,
    /// A screenful up.
    PageUp,
    /// A screenful down.
    PageDown,
    /// Sort by something else.
    Sort,
    /// Hold what is shown, or go on.
    Pause,
    /// What the keys mean.
    Help,
    /// Leave the help, or else the program.
    Escape,
    /// Leave the program.
    Quit,
}

/// Rows of a screenful.
const PAGE: usize = 10;

/// What was heard last, and how it is looked at.
#[derive(Debug)]
pub struct Top {
    /// Whom it is heard from.
    pub(crate) source: String,
    pub(crate) live: Option<Live>,
    /// Why nothing was heard since, and how many times in a row.
    pub(crate) silence: Option<(String, u32)>,
    pub(crate) pane: Pane,
    /// Which of its orders each pane is in.
    orders: [usize; Pane::ALL.len()],
    /// The first row that each pane shows.
    first_rows: [usize; Pane::ALL.len()],
    pub(crate) is_paused: bool,
    pub(crate) is_helping: bool,
    /// Nobody wants to look any more.
    pub(crate) is_over: bool,
}

impl Top {
    /// Nothing was heard of `source` yet.
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            live: None,
            silence: None,
            pane: Pane::Pools,
            orders: [0; Pane::ALL.len()],
            first_rows: [0; Pane::ALL.len()],
            is_paused: false,
            is_helping: false,
            is_over: false,
        }
    }

    /// Something was heard, or why not. What was heard before stays on the screen while nothing is heard.
    pub fn hear(&mut self, heard: Result<Live, String>) {
        if self.is_paused {
            return;
        }
        match heard {
            Ok(live) => (self.live, self.silence) = (Some(live), None),
            Err(error) => {
                let times = self.silence.as_ref().map_or(0, |(_, times)| *times);
                self.silence = Some((error, times.saturating_add(1)));
            }
        }
    }

    /// A key was pressed.
    pub fn press(&mut self, key: Key) {
        match key {
            Key::Quit => self.is_over = true,
            Key::Escape if !self.is_helping => self.is_over = true,
            Key::Escape => self.is_helping = false,
            Key::Help => self.is_helping = !self.is_helping,
            Key::Pause => self.is_paused = !self.is_paused,
            Key::Next => self.turn(1),
            Key::Previous => self.turn(Pane::ALL.len() - 1),
            Key::Number(number) => {
                let pane = number.checked_sub(1).and_then(|index| Pane::ALL.get(index));
                self.pane = pane.copied().unwrap_or(self.pane);
            }
            Key::Sort => {
                let order = &mut self.orders[self.pane as usize];
                *order = (*order + 1) % self.pane.orders().len();
                self.first_rows[self.pane as usize] = 0;
            }
            Key::Up => self.scroll(|row| row.saturating_sub(1)),
            Key::Down => self.scroll(|row| row.saturating_add(1)),
            Key::PageUp => self.scroll(|row| row.saturating_sub(PAGE)),
            Key::PageDown => self.scroll(|row| row.saturating_add(PAGE)),
        }
    }

    /// Whether nobody wants to look any more.
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    fn turn(&mut self, by: usize) {
        self.pane = Pane::ALL[(self.pane as usize + by) % Pane::ALL.len()];
    }

    fn scroll(&mut self, to: impl Fn(usize) -> usize) {
        let row = &mut self.first_rows[self.pane as usize];
        *row = to(*row);
    }

    /// What `pane` is sorted by.
    pub(crate) fn order(&self, pane: Pane) -> &'static str {
        pane.orders().get(self.orders[pane as usize]).copied().unwrap_or_default()
    }

    /// The first row that `pane` shows, of `rows` of which `room` fit: the last page is not scrolled beyond.
    pub(crate) fn first_row(&mut self, pane: Pane, rows: usize, room: usize) -> usize {
        let first = &mut self.first_rows[pane as usize];
        *first = (*first).min(rows.saturating_sub(room));
        *first
    }
}
