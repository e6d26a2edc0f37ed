//! Where everything is on the screen.

use crate::figures;
use crate::panes::{self, BAD, DIM, WARN};
use crate::view::{Pane, Top};
use contracts::live::Live;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph, Wrap};

/// From this size on all panes are shown at once.
const WIDE: u16 = 130;
const HIGH: u16 = 34;
/// Below this nothing can be read.
const LEAST: (u16, u16) = (40, 10);

const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
const TURNED: Style = Style::new().add_modifier(Modifier::REVERSED);

const KEYS: [(&str, &str); 9] = [
    ("q, Ctrl-C", "quit"),
    ("Tab, right", "next pane"),
    ("Shift-Tab, left", "pane before"),
    ("1 to 5", "a pane by its number"),
    ("up, down, PgUp, PgDn", "rows"),
    ("s", "sort by something else"),
    ("p", "hold what is shown, or go on"),
    ("?", "this"),
    ("Esc", "leave this, or quit"),
];

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, top: &mut Top) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!("too small: expected {} columns and {} lines at least", LEAST.0, LEAST.1);
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
        return;
    }
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)]).areas(area);
    // What was heard is taken out while it is drawn, and put back.
    let live = top.live.take();
    match &live {
        Some(live) if live.answered().next().is_some() => {
            draw_head(frame, head, top, live);
            if area.width >= WIDE && area.height >= HIGH {
                draw_all(frame, body, top, live);
            } else {
                draw_one(frame, body, top, live);
            }
        }
        other => draw_silence(frame, head.union(body), top, other.as_ref()),
    }
    top.live = live;
    frame.render_widget(Paragraph::new(foot_line(top)), foot);
    if top.is_helping {
        draw_help(frame, area);
    }
}

/// What goes through all gateways together, and what is wrong with what is shown.
fn draw_head(frame: &mut Frame<'_>, area: Rect, top: &Top, live: &Live) {
    let (traffic, lately) = (&live.traffic, &live.traffic.last_10_s);
    let (answered, all) = (live.answered().count(), live.gateways.len());
    let s = if all == 1 { "" } else { "s" };
    let gateways =
        if answered == all { format!("{all} gateway{s}") } else { format!("{answered} of {all} gateways") };
    let line = format!(
        "{gateways}  {} calls/s  {} tokens/s  {} in flight",
        figures::rate(lately.a_second(lately.totals.calls)),
        figures::rate(lately.a_second(lately.totals.tokens())),
        figures::count(traffic.in_flight),
    );
    let spent = format!(
        "{}/min  {} today  ",
        figures::dollars(traffic.last_minute.cost_a_minute()),
        figures::dollars(traffic.today.totals.cost),
    );
    let head = Line::from(vec![Span::styled("control-tower  ", STRONG), Span::raw(line)]);
    let below = trouble(top, live).unwrap_or_else(|| Line::from(vec![Span::raw(spent), state(top, live)]));
    frame.render_widget(Paragraph::new(Text::from(vec![head, below])), area);
}

/// Why what is shown may not be what goes on, or not all of it.
fn trouble(top: &Top, live: &Live) -> Option<Line<'static>> {
    if top.is_paused {
        return Some(Line::styled("PAUSED: p goes on", TURNED));
    }
    if let Some((error, times)) = &top.silence {
        let text = format!("NO ANSWER ({times} in a row, this is from before): {error}");
        return Some(Line::styled(text, BAD));
    }
    let mut silent = live.gateways.iter().filter_map(|answer| Some((&answer.url, answer.error.as_ref()?)));
    let (url, error) = silent.next()?;
    let more = silent.count();
    let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
    Some(Line::styled(format!("SILENT{more} {url}: {error}"), BAD))
}

/// Calls that fail, or whom it is heard from when none does.
fn state(top: &Top, live: &Live) -> Span<'static> {
    let lately = &live.traffic.last_10_s.totals;
    if lately.failed > 0 {
        let text = format!("{} of {} calls failed in the last 10 s", lately.failed, lately.calls);
        return Span::styled(text, WARN);
    }
    Span::styled(top.source.clone(), DIM)
}

/// All panes, the one that keys go to in a thick frame.
fn draw_all(frame: &mut Frame<'_>, area: Rect, top: &mut Top, live: &Live) {
    let gateways = u16::try_from(live.gateways.len()).unwrap_or(u16::MAX).saturating_add(3).clamp(4, 8);
    let [upper, lower, last] =
        Layout::vertical([Constraint::Fill(1), Constraint::Fill(1), Constraint::Length(gateways)])
            .areas(area);
    let halves = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]);
    let ([pools, queues], [budgets, caches]) = (halves.areas(upper), halves.areas(lower));
    for (pane, area) in Pane::ALL.into_iter().zip([pools, queues, budgets, caches, last]) {
        draw_pane(frame, area, top, live, pane);
    }
}

/// The pane that keys go to, below the names of all.
fn draw_one(frame: &mut Frame<'_>, area: Rect, top: &mut Top, live: &Live) {
    let [tabs, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(area);
    let names = Pane::ALL.into_iter().enumerate().map(|(index, pane)| {
        let name = format!("{} {}", index + 1, pane.title());
        if pane == top.pane {
            Span::styled(format!("[{name}]"), TURNED)
        } else {
            Span::raw(format!(" {name} "))
        }
    });
    frame.render_widget(Paragraph::new(names.collect::<Line<'_>>()), tabs);
    draw_pane(frame, body, top, live, top.pane);
}

fn draw_pane(frame: &mut Frame<'_>, area: Rect, top: &mut Top, live: &Live, pane: Pane) {
    let is_focused = pane == top.pane;
    let order = top.order(pane);
    let sheet = panes::sheet(pane, live, order);
    let title = format!(" {}{}, by {order} ", if is_focused { "> " } else { "" }, pane.title());
    let block = Block::bordered()
        .border_type(if is_focused { BorderType::Thick } else { BorderType::Plain })
        .title(Span::styled(title, if is_focused { STRONG } else { Style::new() }));
    let inner = block.inner(area);
    let above = u16::try_from(sheet.above.len()).unwrap_or_default();
    let [told, heading, table] =
        Layout::vertical([Constraint::Length(above), Constraint::Length(1), Constraint::Min(0)]).areas(inner);
    let room = usize::from(table.height);
    let (titles, rows) = sheet.lines(usize::from(table.width));
    let first = top.first_row(pane, rows.len(), room);
    let hidden = rows.len().saturating_sub(first + room);
    let block = if first + hidden > 0 {
        let more = format!(" lines {} to {} of {} ", first + 1, rows.len() - hidden, rows.len());
        block.title_bottom(Line::from(more).right_aligned())
    } else {
        block
    };
    frame.render_widget(block, area);
    frame.render_widget(Paragraph::new(sheet.above.iter().map(String::as_str).collect::<Text<'_>>()), told);
    if rows.is_empty() {
        frame.render_widget(Paragraph::new(Span::styled(sheet.nothing, DIM)), heading);
        return;
    }
    frame.render_widget(Paragraph::new(titles), heading);
    let shown: Text<'_> = rows.into_iter().skip(first).take(room).collect();
    frame.render_widget(Paragraph::new(shown), table);
}

/// Nobody told anything yet, or no gateway did.
fn draw_silence(frame: &mut Frame<'_>, area: Rect, top: &Top, live: Option<&Live>) {
    let mut lines = Vec::new();
    match (live, &top.silence) {
        (None, None) => lines.push(Line::from(format!("asking {} ...", top.source))),
        (Some(live), None) if live.gateways.is_empty() => {
            lines.push(Line::styled("no gateway is configured", BAD));
            lines.push(Line::from(""));
            lines.push(Line::from("The console asks those of its configuration: [web] gateways."));
        }
        (live, silence) => {
            lines.push(Line::styled("no gateway answers", BAD));
            lines.push(Line::from(""));
            if let Some((error, times)) = silence {
                lines.push(Line::from(format!("{}: {error}", top.source)));
                lines.push(Line::from(format!("asked {times} times, and goes on every second")));
            }
            for answer in live.into_iter().flat_map(|live| &live.gateways) {
                let error = answer.error.as_deref().unwrap_or("it does not answer");
                lines.push(Line::from(format!("{}: {error}", answer.url)));
            }
        }
    }
    let title = Span::styled(" control-tower ", STRONG);
    let text = Paragraph::new(lines).wrap(Wrap { trim: false }).block(Block::bordered().title(title));
    frame.render_widget(text, area);
}

fn foot_line(top: &Top) -> Line<'static> {
    let pause = if top.is_paused { "p go on" } else { "p pause" };
    Line::styled(format!("q quit  Tab pane  s sort  {pause}  ? help"), DIM)
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let lines: Vec<Line<'_>> =
        KEYS.iter().map(|(key, does)| Line::from(format!(" {key:<21} {does}"))).collect();
    let (width, height) = (56.min(area.width), 11.min(area.height));
    let [area] =
        Layout::horizontal([Constraint::Length(width)]).flex(ratatui::layout::Flex::Center).areas(area);
    let [area] =
        Layout::vertical([Constraint::Length(height)]).flex(ratatui::layout::Flex::Center).areas(area);
    frame.render_widget(Clear, area);
    let block = Block::bordered().border_type(BorderType::Thick).title(" Keys ");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
