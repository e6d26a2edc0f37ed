//! What stands on the screen, as pictures: `UPDATE_SCREENS=1 cargo test -p top` draws them anew.

use super::*;
use contracts::live::{GatewayAnswer, GatewayLive, Live};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::path::Path;

/// Two gateways: a pool with one deployment out and one slow to start, a queue with two tenants, budgets of every sort.
fn gateways() -> Vec<GatewayAnswer> {
    serde_json::from_str(include_str!("tests/gateways.json")).unwrap()
}

fn live() -> Live {
    Live::of(1_767_225_600_000, gateways())
}

fn heard(live: Live) -> Top {
    let mut top = Top::new("http://127.0.0.1:3000");
    top.hear(Ok(live));
    top
}

/// The screen as text, line by line, without trailing blanks.
fn screen(top: &mut Top, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, top)).unwrap();
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(usize::from(width)).map(|cells| {
        let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

#[track_caller]
fn assert_screen(name: &str, shown: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SCREENS").is_some() {
        std::fs::write(&path, shown).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(shown == expected, "{name} looks otherwise:\n{shown}\ninstead of\n{expected}");
}

#[test]
fn every_pane_fits_a_small_terminal() {
    let mut top = heard(live());
    for name in ["pools", "queues", "budgets", "caches", "gateways"] {
        assert_screen(&format!("{name}_80x24"), &screen(&mut top, 80, 24));
        top.press(Key::Next);
    }
    assert_screen("pools_80x24", &screen(&mut top, 80, 24));
}

#[test]
fn a_large_terminal_shows_all_of_it() {
    assert_screen("all_140x40", &screen(&mut heard(live()), 140, 40));
}

#[test]
fn that_nobody_answers_is_said_and_why() {
    let mut top = Top::new("http://127.0.0.1:3000");
    assert!(screen(&mut top, 80, 24).contains("asking http://127.0.0.1:3000 ..."));
    top.hear(Err("nothing listens there".into()));
    top.hear(Err("nothing listens there".into()));
    assert_screen("nobody_80x24", &screen(&mut top, 80, 24));

    let silent = |answer: GatewayAnswer| GatewayAnswer {
        live: None,
        error: Some("no answer within 2 s".into()),
        ..answer
    };
    let all_silent = Live::of(0, gateways().into_iter().map(silent).collect());
    assert_screen("silent_80x24", &screen(&mut heard(all_silent), 80, 24));
    assert!(screen(&mut heard(Live::of(0, Vec::new())), 80, 24).contains("[web] gateways"));
}

#[test]
fn what_was_heard_stays_when_nothing_more_is_and_one_who_is_silent_is_named() {
    let mut top = heard(live());
    top.hear(Err("no answer within 3 s".into()));
    let shown = screen(&mut top, 80, 24);
    assert!(shown.contains("NO ANSWER (1 in a row") && shown.contains("no answer within 3 s"), "{shown}");
    assert!(shown.contains("x out"), "what was heard before is there: {shown}");

    let mut gateways = gateways();
    gateways[1] =
        GatewayAnswer { live: None, error: Some("nothing listens there".into()), ..gateways[1].clone() };
    let shown = screen(&mut heard(Live::of(0, gateways)), 80, 24);
    assert!(
        shown.contains("1 of 2 gateways") && shown.contains("SILENT http://g2:8080: nothing listens there"),
        "{shown}"
    );
}

#[test]
fn keys_sort_pause_explain_and_quit() {
    let mut top = heard(live());
    assert!(screen(&mut top, 80, 24).contains("> Pools, by name"));
    top.press(Key::Sort);
    let shown = screen(&mut top, 80, 24);
    let at = |text: &str| shown.find(text).unwrap_or_else(|| panic!("no {text} in {shown}"));
    assert!(shown.contains("> Pools, by state") && at("x out") < at("+ in"), "the worst first: {shown}");

    top.press(Key::Pause);
    top.hear(Err("no answer".into()));
    let shown = screen(&mut top, 80, 24);
    assert!(shown.contains("PAUSED") && !shown.contains("NO ANSWER"), "{shown}");
    top.press(Key::Pause);

    top.press(Key::Help);
    assert_screen("help_80x24", &screen(&mut top, 80, 24));
    top.press(Key::Escape);
    assert!(!top.is_over() && !screen(&mut top, 80, 24).contains("hold what is shown"));
    for (key, pane) in
        [(Key::Number(3), "> Budgets"), (Key::Number(9), "> Budgets"), (Key::Previous, "> Queues")]
    {
        top.press(key);
        assert!(screen(&mut top, 80, 24).contains(pane));
    }
    top.press(Key::Escape);
    assert!(top.is_over());
}

#[test]
fn many_rows_are_walked_through_and_not_beyond() {
    let mut gateways = gateways();
    let one: &mut GatewayLive = gateways[0].live.as_mut().unwrap();
    let shelf = one.cache.shelves[0].clone();
    one.cache.shelves = (0..50)
        .map(|n| contracts::live::ShelfLive { route: format!("route-{n:02}"), ..shelf.clone() })
        .collect();
    let mut top = heard(Live::of(0, gateways));
    top.press(Key::Number(4));
    assert!(screen(&mut top, 80, 24).contains("lines 1 to "));
    for _ in 0..20 {
        top.press(Key::PageDown);
    }
    let shown = screen(&mut top, 80, 24);
    assert!(shown.contains("support "), "{shown}");
    top.press(Key::Up);
    assert!(
        !screen(&mut top, 80, 24).contains("support "),
        "one row back at once, however often it went down"
    );
}

#[test]
fn the_same_is_told_as_text() {
    let lines = plain(&live(), Pane::Budgets, 100);
    assert!(lines[0].starts_with("BUDGET") && lines[1].starts_with("search-team"), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("64%") && line.ends_with("shared, over its soft limit")));
    assert_eq!(plain(&Live::of(0, Vec::new()), Pane::Budgets, 100), ["there is no budget"]);
}

#[test]
fn it_is_drawn_at_any_size() {
    for top in [&mut heard(live()), &mut Top::new("x")] {
        top.press(Key::Help);
        for (width, height) in [(1, 1), (10, 3), (39, 9), (40, 10), (80, 3), (81, 25), (130, 34), (300, 100)]
        {
            screen(top, width, height);
        }
    }
}
