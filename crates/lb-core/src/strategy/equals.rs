//! Which of several equally good backends: the one whose turn it is, or any, each with the same chance.

/// Draws made before all are looked at: with half of them equal they all fail once in 256 times.
const DRAWS: usize = 8;

/// Up to this many a look at all costs no more than the draws, or than a turn.
pub(super) const FEW: usize = 16;

/// The index whose load is less than all others', or else the least load, which several have. A turn costs more than a look at a
/// few loads, so it is taken for ties alone.
#[inline]
pub(super) fn only_least(loads: impl Iterator<Item = f64>) -> Result<usize, f64> {
    let (mut only, mut least, mut tied) = (0, f64::INFINITY, true);
    for (index, load) in loads.enumerate() {
        if load < least {
            (only, least, tied) = (index, load, false);
        } else {
            tied |= load == least;
        }
    }
    if tied { Err(least) } else { Ok(only) }
}

/// One of the indices below `count` whose load is at most `least`: `turn` if it is one of them, so that equals are served in
/// turn; else any, so that nobody inherits the turns of a busy neighbour. Where loads changed meanwhile and none is that low
/// any more, `turn`.
pub(super) fn one_of_least(count: usize, turn: usize, least: f64, load: impl Fn(usize) -> f64) -> usize {
    let is_least = |index: &usize| load(*index) <= least;
    if is_least(&turn) {
        return turn;
    }
    if count > FEW {
        let drawn = (0..DRAWS).map(|_| fastrand::usize(..count)).find(is_least);
        if let Some(drawn) = drawn {
            return drawn;
        }
    }
    let equals = (0..count).filter(is_least).count();
    if equals == 0 {
        return turn;
    }
    (0..count).filter(is_least).nth(fastrand::usize(..equals)).unwrap_or(turn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_whose_turn_it_is_comes_first_and_else_all_have_the_same_chance() {
        for count in [8_usize, 64] {
            let load = |index: usize| if index.is_multiple_of(4) { 1.0 } else { 2.0 };
            assert_eq!(one_of_least(count, 4, 1.0, load), 4);
            let mut counts = vec![0; count];
            for _ in 0..10_000 {
                counts[one_of_least(count, 1, 1.0, load)] += 1;
            }
            let fair = 10_000 * 4 / count;
            for (index, times) in counts.into_iter().enumerate() {
                let range = if index % 4 == 0 { fair * 3 / 4..fair * 5 / 4 } else { 0..1 };
                assert!(range.contains(&times), "{index} of {count}: {times}");
            }
        }
    }

    #[test]
    fn loads_that_changed_meanwhile_still_give_an_answer() {
        assert_eq!(one_of_least(40, 7, 0.0, |_| 1.0), 7);
    }
}
