//! `control-tower top` as somebody at a terminal meets it.

use crate::tower::Tower;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A terminal in which `top` runs. What is written on it is kept as it comes, with its escape sequences.
struct Terminal {
    ours: File,
    theirs: File,
    written: Arc<Mutex<Vec<u8>>>,
    top: Child,
}

impl Terminal {
    fn start(size: (u16, u16), dir: &Path) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let theirs = File::options().read(true).write(true).open(name).unwrap();
        tcsetwinsize(&ours, winsize(size)).unwrap();
        // In a session of its own, of which this is the terminal: that is how it learns of another size.
        let top = Command::new("setsid")
            .args(["--ctty", "--wait", env!("CARGO_BIN_EXE_control-tower"), "top", "--data-dir"])
            .arg(dir)
            .env("TERM", "xterm-256color")
            .stdin(theirs.try_clone().unwrap())
            .stdout(theirs.try_clone().unwrap())
            .stderr(theirs.try_clone().unwrap())
            .spawn()
            .expect("setsid is installed");
        let ours = File::from(ours);
        let (mut reading, written) = (ours.try_clone().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let keep = written.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 8_192];
            while let Ok(read @ 1..) = reading.read(&mut buffer) {
                keep.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        Self { ours, theirs, written, top }
    }

    fn press(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    fn resize(&self, size: (u16, u16)) {
        tcsetwinsize(&self.ours, winsize(size)).unwrap();
    }

    fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// Waits until all of `there` can be read on the screen, and none of `gone`.
    async fn shows(&self, there: &[&str], gone: &[&str]) {
        for _ in 0..1_200 {
            let screen = screen(&self.written());
            if there.iter().all(|text| screen.contains(text))
                && !gone.iter().any(|text| screen.contains(text))
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("expected {there:?} and not {gone:?}:\n{}", screen(&self.written()));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _gone = self.top.kill();
        let _gone = self.top.wait();
    }
}

const fn winsize((columns, lines): (u16, u16)) -> Winsize {
    Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// What can be read on a terminal on which `written` was written: it knows as much as `top` uses, which is to go to a place and
/// to wipe everything.
fn screen(written: &str) -> String {
    let blank = vec![vec![' '; 256]; 64];
    let (mut lines, mut line, mut column) = (blank.clone(), 0, 0);
    let mut left = written.chars();
    while let Some(next) = left.next() {
        if next == '\u{1b}' {
            // `[`, arguments, and a letter that says what is to be done.
            let (mut arguments, mut does) = (String::new(), ' ');
            for part in left.by_ref().skip(1) {
                if part.is_ascii_alphabetic() {
                    does = part;
                    break;
                }
                arguments.push(part);
            }
            if does == 'H' {
                let mut place = arguments.split(';').map(|number| number.parse().unwrap_or(1_usize) - 1);
                (line, column) = (place.next().unwrap_or(0), place.next().unwrap_or(0));
            } else if does == 'J' {
                lines.clone_from(&blank);
            }
        } else if !next.is_control() {
            lines[line][column] = next;
            column += 1;
        }
    }
    let lines: Vec<String> = lines.into_iter().map(|line| line.into_iter().collect()).collect();
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn top_draws_follows_the_size_takes_keys_and_gives_the_terminal_back() {
    let tower = Tower::start().await;
    let mut terminal = Terminal::start((80, 24), tower.dir());
    // A pane at a time, where there is not room for all.
    terminal
        .shows(&["[1 Pools]", "> Pools, by name", "no model has a pool", "? help"], &["Budgets, by"])
        .await;
    assert!(terminal.written().contains("\u{1b}[?1049h"), "what was there before is kept");

    terminal.press("5");
    terminal.shows(&["[5 Gateways]", "> Gateways, by name", "gateway-1"], &["Pools, by"]).await;
    terminal.press("\t");
    terminal.shows(&["> Pools, by name"], &["Gateways, by"]).await;
    terminal.press("s");
    terminal.shows(&["> Pools, by state"], &[]).await;
    terminal.press("?");
    terminal.shows(&["Shift-Tab, left", "leave this, or quit"], &[]).await;
    terminal.press("\u{1b}");
    terminal.shows(&["> Pools, by state"], &["leave this, or quit"]).await;
    terminal.press("p");
    terminal.shows(&["PAUSED: p goes on"], &[]).await;
    terminal.press("p");
    terminal.shows(&["p pause"], &["PAUSED"]).await;

    let all =
        ["> Pools, by state", "Queues, by name", "Budgets, by used", "Caches, by bytes", "Gateways, by name"];
    terminal.resize((200, 50));
    terminal.shows(&all, &["[1 Pools]"]).await;
    terminal.resize((30, 8));
    terminal.shows(&["too small"], &["Pools"]).await;
    terminal.resize((80, 24));
    terminal.shows(&["[1 Pools]", "> Pools, by state"], &["Budgets, by used"]).await;

    terminal.press("q");
    let ended = terminal.top.wait().unwrap();
    assert!(ended.success(), "{ended}");
    let modes = tcgetattr(&terminal.theirs).unwrap().local_modes;
    assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO), "lines and echo are back: {modes:?}");
    // The reader may not have come to the end of it.
    while !terminal.written().contains("\u{1b}[?1049l") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tower.stop().await;
}
