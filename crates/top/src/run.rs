//! The terminal: taken, drawn on until somebody quits, and given back as it was, also after a panic.

use crate::screen::draw;
use crate::view::{Key, Top};
use contracts::live::Live;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::io;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

/// How long a key is waited for before the screen is drawn anew.
const PAUSE: Duration = Duration::from_millis(200);

/// What comes from outside.
#[derive(Debug)]
pub enum News {
    /// What goes on, or why nobody tells.
    Heard(Result<Box<Live>, String>),
    /// The process is asked to end.
    Stop,
}

/// Shows what `news` bring of `source` until somebody quits, [`News::Stop`] comes or there will be no more news.
pub fn run(source: &str, news: &Receiver<News>) -> io::Result<()> {
    // This also sees to it that a panic gives the terminal back before it is told.
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, Top::new(source), news);
    let restored = ratatui::try_restore();
    shown.and(restored)
}

fn show(terminal: &mut DefaultTerminal, mut top: Top, news: &Receiver<News>) -> io::Result<()> {
    loop {
        loop {
            match news.try_recv() {
                Ok(News::Heard(heard)) => top.hear(heard.map(|live| *live)),
                Ok(News::Stop) | Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => break,
            }
        }
        terminal.draw(|frame| draw(frame, &mut top))?;
        if event::poll(PAUSE)?
            && let Event::Key(pressed) = event::read()?
            && let Some(key) = meaning(&pressed)
        {
            top.press(key);
        }
        if top.is_over() {
            return Ok(());
        }
    }
}

/// What a key means here.
fn meaning(pressed: &KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    if pressed.modifiers.contains(KeyModifiers::CONTROL) {
        return (pressed.code == KeyCode::Char('c')).then_some(Key::Quit);
    }
    Some(match pressed.code {
        KeyCode::Char('q') => Key::Quit,
        KeyCode::Esc => Key::Escape,
        KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => Key::Next,
        KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => Key::Previous,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Char('p') => Key::Pause,
        KeyCode::Char('?') => Key::Help,
        KeyCode::Char(digit) => Key::Number(usize::try_from(digit.to_digit(10)?).ok()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_the_help_says() {
        let of = |code, modifiers| meaning(&KeyEvent::new(code, modifiers));
        let plain = |code| of(code, KeyModifiers::NONE);
        assert_eq!(plain(KeyCode::Char('q')), Some(Key::Quit));
        assert_eq!(of(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Quit));
        assert_eq!(plain(KeyCode::Char('c')), None);
        assert_eq!(of(KeyCode::BackTab, KeyModifiers::SHIFT), Some(Key::Previous));
        assert_eq!(plain(KeyCode::Char('3')), Some(Key::Number(3)));
        assert_eq!(plain(KeyCode::Char('?')), Some(Key::Help));
        let released = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(meaning(&released), None);
    }
}
