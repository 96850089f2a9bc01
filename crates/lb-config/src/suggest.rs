//! "Did you mean": the known words nearest to one that is not known.

/// The candidates nearest to `word`, several where they are equally near; none where nothing is near.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let plain = normal(word);
    let mut best = Vec::new();
    let mut best_distance = usize::MAX;
    for candidate in candidates {
        let distance = if normal(candidate) == plain { 1 } else { distance(word, candidate) };
        if distance > tolerance(word, candidate) || distance > best_distance {
            continue;
        }
        if distance < best_distance {
            best.clear();
            best_distance = distance;
        }
        if !best.contains(&candidate) {
            best.push(candidate);
        }
    }
    best
}

/// `did you mean …?`, where something is near.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let nearest = nearest(word, candidates);
    (!nearest.is_empty()).then(|| format!("did you mean {}?", list(&nearest, "or")))
}

/// `a`, `b` or `c`, each in backticks.
pub(crate) fn list(words: &[&str], last: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((end, rest)) if !rest.is_empty() => format!("{} {last} {end}", rest.join(", ")),
        Some((end, _)) => end.clone(),
        None => String::new(),
    }
}

/// Insertions, deletions, substitutions and swaps of neighbours; a longer known word that begins with what was
/// written is near too.
fn distance(word: &str, candidate: &str) -> usize {
    let distance = strsim::osa_distance(&word.to_lowercase(), &candidate.to_lowercase());
    if word.len() >= 4 && candidate.split('_').any(|part| part == word) { distance.min(2) } else { distance }
}

fn tolerance(word: &str, candidate: &str) -> usize {
    (word.len().min(candidate.len()) / 3).max(1)
}

/// `loadBalancing`, `load-balancing` and `load_balancing` are one word.
fn normal(word: &str) -> String {
    word.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_whatever_its_spelling() {
        let keys = ["load_balancing", "backends", "path_prefix", "url"];
        assert_eq!(nearest("wieght", ["weight", "height_of_it"]), ["weight"]);
        assert_eq!(nearest("loadBalancing", keys), ["load_balancing"]);
        assert_eq!(nearest("LOAD-BALANCING", keys), ["load_balancing"]);
        assert_eq!(nearest("prefix", keys), ["path_prefix"]);
        assert_eq!(nearest("ulr", keys), ["url"]);
        assert!(nearest("colour", keys).is_empty());
    }

    #[test]
    fn equally_near_words_are_all_named() {
        assert_eq!(did_you_mean("hostx", ["host", "hosts"]).unwrap(), "did you mean `host` or `hosts`?");
    }
}
