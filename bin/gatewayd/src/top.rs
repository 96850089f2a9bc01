//! `gatewayd top`: how a running gateway stands, in the terminal, from its admin address.

mod draw;
mod feed;
mod model;
mod screen;
mod text;

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use crossterm::event::{self, Event};

use self::feed::{Feed, Heard};
use self::screen::{Next, Screen};
use crate::{Outcome, cli, exit};

/// How long keys and events may wait for each other.
const TURN: Duration = Duration::from_millis(50);

/// `gatewayd top`.
pub(crate) fn top(args: &cli::Top) -> Outcome {
    if args.once || args.json {
        return Ok(once(args)?);
    }
    if !std::io::stdout().is_terminal() {
        return Err(
            anyhow::anyhow!("standard output is no terminal; `gatewayd top --once` prints and ends").into()
        );
    }
    Ok(watch(args)?)
}

/// Prints how things stand.
fn once(args: &cli::Top) -> anyhow::Result<()> {
    let query = screen::query(args.view.sort, args.view.find.as_deref().unwrap_or_default(), 1);
    let text = feed::second(&args.admin, &query)?;
    if args.json {
        exit::print(&text);
        return Ok(());
    }
    let event =
        serde_json::from_str(&text).context("the admin address is not that of a gateway like this one")?;
    exit::print(text::page(&event).trim_end());
    Ok(())
}

/// Shows it until told to stop. The terminal is put back however that ends.
fn watch(args: &cli::Top) -> anyhow::Result<()> {
    let told_to_end = signals()?;
    let mut screen = Screen::new(args.view.sort, args.view.find.clone().unwrap_or_default());
    let mut feed = Feed::follow(&args.admin, &screen.query())?;
    in_terminal(|terminal| run(terminal, &mut screen, &mut feed, &told_to_end))
}

/// Takes the terminal for as long as `show` runs, and gives it back also when that panics.
fn in_terminal(show: impl FnOnce(&mut ratatui::DefaultTerminal) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut terminal = ratatui::try_init().context("cannot take the terminal")?;
    let ended = show(&mut terminal);
    ratatui::restore();
    ended
}

fn run(
    terminal: &mut ratatui::DefaultTerminal,
    screen: &mut Screen,
    feed: &mut Feed,
    told_to_end: &AtomicBool,
) -> anyhow::Result<()> {
    let mut is_stale = true;
    while !told_to_end.load(Ordering::Relaxed) {
        if is_stale {
            terminal.draw(|frame| draw::draw(frame, screen))?;
        }
        is_stale = false;
        for heard in feed.heard() {
            is_stale = true;
            match heard {
                Heard::Event(event) => screen.take(*event),
                Heard::Lost(reason) => screen.lost(reason),
            }
        }
        while event::poll(if is_stale { Duration::ZERO } else { TURN })? {
            is_stale = true;
            if let Event::Key(key) = event::read()? {
                match screen.press(key) {
                    Next::Stay => {}
                    Next::Ask => feed.ask(&screen.query()),
                    Next::Quit => return Ok(()),
                }
            }
        }
    }
    Ok(())
}

/// Set when the session ends or someone asks for it, so that the terminal is put back then too.
fn signals() -> anyhow::Result<Arc<AtomicBool>> {
    let told = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&told)) {
            bail!("cannot listen for signals: {error}");
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::Value;

    /// Not a test by itself: run by the one below, in a terminal.
    #[test]
    #[ignore = "panics, in a terminal"]
    fn panics_with_the_terminal_taken() {
        let shown = super::in_terminal(|terminal| {
            // Which hides the cursor.
            terminal.draw(|_| {})?;
            panic!("told to")
        });
        drop(shown);
    }

    #[test]
    fn a_panic_gives_the_terminal_back() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/live/terminal.py");
        let this = std::env::current_exe().unwrap();
        let panics = "top::tests::panics_with_the_terminal_taken";
        let output = Command::new("python3")
            .args([script, "none"])
            .arg(this)
            .args([panics, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .output()
            .unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        for fact in ["taken", "left", "cursor", "restored"] {
            assert_eq!(told[fact], true, "{fact}: {told}");
        }
        assert!(told["printed"].as_str().is_some_and(|printed| printed.contains("told to")), "{told}");
    }
}
