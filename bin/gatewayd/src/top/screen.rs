//! What is on the screen, and what keys do to it.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::Event;
use crate::cli::Sort;

/// Points of the past that are kept: ten minutes.
const KEPT: usize = 120;

/// The lists that can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Backends,
    Rules,
    Errors,
    Changes,
}

impl List {
    pub(super) const ALL: [Self; 4] = [Self::Backends, Self::Rules, Self::Errors, Self::Changes];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Backends => "Backends",
            Self::Rules => "Rules",
            Self::Errors => "Problems",
            Self::Changes => "Changes",
        }
    }
}

/// Everything that is drawn.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) event: Option<Event>,
    /// Why the gateway does not answer.
    pub(super) lost: Option<String>,
    /// Requests a second in the past.
    pub(super) past: Vec<f64>,
    next_point: u64,
    pub(super) list: List,
    pub(super) sort: Sort,
    pub(super) find: String,
    /// Whether keys go into `find`.
    pub(super) is_finding: bool,
    pub(super) page: usize,
    /// The first line that is shown of the list.
    pub(super) offset: usize,
}

/// What follows from a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Stay,
    /// Something else is to be shown.
    Ask,
    Quit,
}

impl Screen {
    pub(super) fn new(sort: Sort, find: String) -> Self {
        Self {
            event: None,
            lost: None,
            past: Vec::new(),
            next_point: 0,
            list: List::Backends,
            sort,
            find,
            is_finding: false,
            page: 1,
            offset: 0,
        }
    }

    /// What to ask the gateway for.
    pub(super) fn query(&self) -> String {
        query(self.sort, &self.find, self.page)
    }

    /// A new event has come.
    pub(super) fn take(&mut self, event: Event) {
        self.lost = None;
        if let Some(history) = &event.totals.history {
            if history.first != self.next_point {
                self.past.clear();
            }
            self.past.extend(&history.requests_per_second);
            self.past.drain(..self.past.len().saturating_sub(KEPT));
            self.next_point = history.first + history.requests_per_second.len() as u64;
        }
        self.page = event.backends.page;
        self.event = Some(event);
    }

    /// The gateway does not answer.
    pub(super) fn lost(&mut self, reason: String) {
        self.lost = Some(reason);
    }

    /// Does what a key says.
    pub(super) fn press(&mut self, key: KeyEvent) -> Next {
        if key.kind == KeyEventKind::Release {
            return Next::Stay;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Next::Quit } else { Next::Stay };
        }
        if self.is_finding { self.press_in_find(key.code) } else { self.press_in_list(key.code) }
    }

    fn press_in_find(&mut self, code: KeyCode) -> Next {
        match code {
            KeyCode::Enter => self.is_finding = false,
            KeyCode::Esc => {
                self.is_finding = false;
                self.find.clear();
            }
            KeyCode::Backspace => drop(self.find.pop()),
            KeyCode::Char(letter) => self.find.push(letter),
            _ => return Next::Stay,
        }
        self.turn_to(1)
    }

    fn press_in_list(&mut self, code: KeyCode) -> Next {
        match code {
            KeyCode::Char('q') => return Next::Quit,
            KeyCode::Esc if self.find.is_empty() => return Next::Quit,
            KeyCode::Esc => {
                self.find.clear();
                return self.turn_to(1);
            }
            KeyCode::Char('/') => self.is_finding = true,
            KeyCode::Tab => self.look_at(1),
            KeyCode::BackTab => self.look_at(List::ALL.len() - 1),
            KeyCode::Up | KeyCode::Char('k') => self.offset = self.offset.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => {
                self.offset = (self.offset + 1).min(self.lines().saturating_sub(1));
            }
            KeyCode::Home | KeyCode::Char('g') => self.offset = 0,
            KeyCode::PageDown | KeyCode::Right | KeyCode::Char(' ') => return self.turn_to(self.page + 1),
            KeyCode::PageUp | KeyCode::Left => return self.turn_to(self.page.saturating_sub(1).max(1)),
            KeyCode::Char(letter) => {
                let Some(sort) = Sort::of_key(letter) else { return Next::Stay };
                self.sort = sort;
                return self.turn_to(1);
            }
            _ => {}
        }
        Next::Stay
    }

    fn turn_to(&mut self, page: usize) -> Next {
        self.page = page;
        self.offset = 0;
        Next::Ask
    }

    fn look_at(&mut self, step: usize) {
        let at = List::ALL.iter().position(|list| *list == self.list).unwrap_or(0);
        self.list = List::ALL.get((at + step) % List::ALL.len()).copied().unwrap_or(List::Backends);
        self.offset = 0;
    }

    fn lines(&self) -> usize {
        self.event.as_ref().map_or(0, |event| match self.list {
            List::Backends => event.backends.shown.len(),
            List::Rules => event.rules.shown.len(),
            List::Errors => event.errors.len(),
            List::Changes => event.changes.len(),
        })
    }
}

/// The query string for one list of all backends.
pub(super) fn query(sort: Sort, find: &str, page: usize) -> String {
    let mut query = format!("flat&sort={}&page={page}&find=", sort.name());
    for byte in find.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => query.push(char::from(byte)),
            _ => query.push_str(&format!("%{byte:02X}")),
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::model::{History, Page, Totals};

    fn press(screen: &mut Screen, code: KeyCode) -> Next {
        screen.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_order_find_page_and_quit() {
        let mut screen = Screen::new(Sort::Place, String::new());
        assert_eq!(press(&mut screen, KeyCode::Char('l')), Next::Ask);
        assert_eq!(press(&mut screen, KeyCode::PageDown), Next::Ask);
        assert_eq!(screen.query(), "flat&sort=latency&page=2&find=");
        press(&mut screen, KeyCode::Char('/'));
        for letter in "q: 8".chars() {
            press(&mut screen, KeyCode::Char(letter));
        }
        assert_eq!(press(&mut screen, KeyCode::Enter), Next::Ask);
        assert_eq!(screen.query(), "flat&sort=latency&page=1&find=q%3A%208");
        assert_eq!(press(&mut screen, KeyCode::Esc), Next::Ask);
        assert_eq!(screen.find, "");
        assert_eq!(press(&mut screen, KeyCode::Esc), Next::Quit);
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Next::Quit);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(screen.press(interrupt), Next::Quit);
    }

    #[test]
    fn the_past_is_put_together_from_its_pieces_and_bounded() {
        let mut screen = Screen::new(Sort::Place, String::new());
        let event = |first, points: std::ops::Range<u32>| Event {
            totals: Totals {
                history: Some(History { first, requests_per_second: points.map(f64::from).collect() }),
                ..Totals::default()
            },
            backends: Page::default(),
            ..Event::default()
        };
        screen.take(event(1, 0..119));
        screen.take(event(120, 119..121));
        assert_eq!((screen.past.len(), screen.past[0], screen.past[119]), (120, 1.0, 120.0));
        // The gateway was started anew.
        screen.take(event(1, 7..9));
        assert_eq!(screen.past, [7.0, 8.0]);
    }
}
