//! A small regular expression, kept as the places of its letters.
//!
//! This is Glushkov's automaton ("The abstract theory of automata", 1961) run with a bit for each position, as Navarro
//! and Raffinot have it ("Flexible Pattern Matching in Strings", 2002, §5.2.2). For most expressions in rules it takes a
//! few hundred bytes, where a general engine takes many thousand and is cold when thousands of them take turns.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Positions of one expression at most: the bits of a set.
const MAX_POSITIONS: usize = u128::BITS as usize;

/// How many positions are looked at for one path, before the compiled expression is asked instead.
const MAX_STEPS: usize = 1 << 13;

/// A byte that stands for the beginning of a path, as no path holds it.
const BEGIN: u8 = 0;

/// A byte that stands for the end of a path, as no path holds it.
const END: u8 = 0x7F;

/// All bytes but those two.
const LETTERS: u128 = !(1 << BEGIN | 1 << END);

/// An expression of ASCII letters, each of which is a place in it.
#[derive(Debug, Clone)]
pub(crate) struct Positions {
    /// What every match begins with, and the path, too, where it is anchored there.
    lead: Box<[u8]>,
    list: Box<[Position]>,
    /// Those where a match can begin after the lead.
    first: u128,
    /// Those where a match can end.
    last: u128,
    /// Whether the lead alone is a match.
    nullable: bool,
    /// Whether every match begins where the path does.
    starts: bool,
}

/// One letter of the expression, or one end of the path.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// The bytes that stand for it, each of which is a bit.
    bytes: u128,
    /// The positions that can come next.
    follow: u128,
}

impl Positions {
    /// None where the expression does not fit: too many letters, or an assertion about words or lines.
    pub(crate) fn of(hir: &Hir) -> Option<Self> {
        let mut parts = match hir.kind() {
            HirKind::Concat(parts) => parts,
            _ => std::slice::from_ref(hir),
        };
        let (mut starts, mut lead) = (false, Box::default());
        if let Some((first, rest)) = parts.split_first()
            && matches!(first.kind(), HirKind::Look(Look::Start))
        {
            (starts, parts) = (true, rest);
        }
        if starts
            && let Some((first, rest)) = parts.split_first()
            && let HirKind::Literal(literal) = first.kind()
        {
            lead = literal.0.clone();
            parts = rest;
        }
        let mut builder = Builder::default();
        let Piece { first, last, nullable } = builder.concat(parts)?;
        Some(Self { lead, list: builder.list.into(), first, last, nullable, starts })
    }

    /// Whether it matches somewhere in `path`; none where that takes too long to say.
    pub(crate) fn matches(&self, path: &[u8]) -> Option<bool> {
        let Some(text) = path.strip_prefix(&*self.lead) else { return Some(false) };
        if self.nullable {
            return Some(true);
        }
        let mut run = Run { steps: MAX_STEPS, active: self.first, matched: false };
        if self.lead.is_empty() {
            self.mark(&mut run, BEGIN)?;
        }
        for &byte in text {
            run.active = self.step(&mut run, byte)?;
            if !self.starts {
                run.active |= self.first;
            }
            if run.matched || run.active == 0 {
                return Some(run.matched);
            }
        }
        self.mark(&mut run, END)?;
        Some(run.matched)
    }

    /// The positions that can follow once `byte` is read.
    fn step(&self, run: &mut Run, byte: u8) -> Option<u128> {
        let bit = bit(byte);
        let mut next = 0;
        while run.active != 0 {
            run.steps = run.steps.checked_sub(1)?;
            let place = run.active.trailing_zeros();
            let here = 1_u128 << place;
            run.active ^= here;
            if let Some(position) = self.list.get(place as usize)
                && position.bytes & bit != 0
            {
                run.matched |= self.last & here != 0;
                next |= position.follow;
            }
        }
        Some(next)
    }

    /// Reads one end of the path, which may be asked for several times in a row.
    fn mark(&self, run: &mut Run, end: u8) -> Option<()> {
        let mut seen = 0;
        while run.active & !seen != 0 {
            run.active &= !seen;
            seen |= run.active;
            run.active = self.step(run, end)?;
        }
        run.active = seen;
        Some(())
    }
}

/// One path being read.
struct Run {
    /// How many more positions may be looked at.
    steps: usize,
    /// Those that can be next.
    active: u128,
    matched: bool,
}

/// Where a part of an expression can begin and end, and whether it matches nothing, too.
#[derive(Clone, Copy)]
struct Piece {
    first: u128,
    last: u128,
    nullable: bool,
}

impl Piece {
    const EMPTY: Self = Self { first: 0, last: 0, nullable: true };
    const NEVER: Self = Self { first: 0, last: 0, nullable: false };
}

#[derive(Default)]
struct Builder {
    list: Vec<Position>,
}

impl Builder {
    fn piece(&mut self, hir: &Hir) -> Option<Piece> {
        match hir.kind() {
            HirKind::Empty => Some(Piece::EMPTY),
            HirKind::Look(Look::Start) => self.letter(bit(BEGIN)),
            HirKind::Look(Look::End) => self.letter(bit(END)),
            HirKind::Look(_) => None,
            HirKind::Literal(literal) => literal.0.iter().try_fold(Piece::EMPTY, |before, &byte| {
                let next = self.letter(bit(byte) & LETTERS)?;
                Some(self.join(before, next))
            }),
            HirKind::Class(class) => self.letter(ascii_of(class) & LETTERS),
            HirKind::Capture(capture) => self.piece(&capture.sub),
            HirKind::Concat(parts) => self.concat(parts),
            HirKind::Alternation(parts) => parts.iter().try_fold(Piece::NEVER, |before, part| {
                let next = self.piece(part)?;
                Some(Piece {
                    first: before.first | next.first,
                    last: before.last | next.last,
                    nullable: before.nullable || next.nullable,
                })
            }),
            HirKind::Repetition(repetition) => self.repeated(&repetition.sub, repetition.min, repetition.max),
        }
    }

    fn letter(&mut self, bytes: u128) -> Option<Piece> {
        if self.list.len() == MAX_POSITIONS {
            return None;
        }
        let here = 1 << self.list.len();
        self.list.push(Position { bytes, follow: 0 });
        Some(Piece { first: here, last: here, nullable: false })
    }

    fn concat(&mut self, parts: &[Hir]) -> Option<Piece> {
        parts.iter().try_fold(Piece::EMPTY, |before, part| {
            let next = self.piece(part)?;
            Some(self.join(before, next))
        })
    }

    /// Each copy has positions of its own, so that a count is kept by where one is.
    fn repeated(&mut self, sub: &Hir, min: u32, max: Option<u32>) -> Option<Piece> {
        let mut whole = Piece::EMPTY;
        for copy in 1..=max.unwrap_or(min.max(1)) {
            let before = self.list.len();
            let mut next = self.piece(sub)?;
            // More copies of nothing are nothing.
            if self.list.len() == before {
                return Some(Piece { nullable: next.nullable || min == 0, ..next });
            }
            if max.is_none() && copy >= min {
                self.follow(next.last, next.first);
            }
            next.nullable |= copy > min;
            whole = self.join(whole, next);
        }
        Some(whole)
    }

    fn join(&mut self, before: Piece, next: Piece) -> Piece {
        self.follow(before.last, next.first);
        Piece {
            first: before.first | if before.nullable { next.first } else { 0 },
            last: next.last | if next.nullable { before.last } else { 0 },
            nullable: before.nullable && next.nullable,
        }
    }

    fn follow(&mut self, from: u128, to: u128) {
        for (place, position) in self.list.iter_mut().enumerate() {
            if from & (1 << place) != 0 {
                position.follow |= to;
            }
        }
    }
}

fn bit(byte: u8) -> u128 {
    if byte.is_ascii() { 1 << byte } else { 0 }
}

/// The ASCII letters of a class: no other can be in a path.
fn ascii_of(class: &Class) -> u128 {
    let range = |start: u32, end: u32| {
        let below = |end: u32| if end >= u128::BITS { u128::MAX } else { (1 << end) - 1 };
        below(end.saturating_add(1)) & !below(start)
    };
    let all = |bits, more| bits | more;
    match class {
        Class::Unicode(class) => {
            class.ranges().iter().map(|it| range(it.start().into(), it.end().into())).fold(0, all)
        }
        Class::Bytes(class) => {
            class.ranges().iter().map(|it| range(it.start().into(), it.end().into())).fold(0, all)
        }
    }
}
