//! Names for people: `weighted_round_robin` is "Weighted Round Robin (3:2:1)".

/// A strategy's name as a title.
pub(crate) fn of(strategy: &str) -> String {
    let words: Vec<String> = strategy.split('_').map(word).collect();
    words.join(" ")
}

fn word(word: &str) -> String {
    if matches!(word, "ip" | "ewma" | "p2c") {
        return word.to_uppercase();
    }
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The title with what tells it from others: the weights where the strategy goes by them, what it is good for where
/// the name does not say.
pub(crate) fn with_weights(strategy: &str, weights: &[f64]) -> String {
    let title = of(strategy);
    if strategy.starts_with("weighted") && (2..=8).contains(&weights.len()) {
        let weights: Vec<String> = weights.iter().map(f64::to_string).collect();
        return format!("{title} ({})", weights.join(":"));
    }
    if strategy == "ip_hash" {
        return format!("{title} (Session Affinity)");
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_those_of_the_tutorial() {
        assert_eq!(with_weights("weighted_round_robin", &[3.0, 2.0, 1.0]), "Weighted Round Robin (3:2:1)");
        assert_eq!(with_weights("least_connections", &[1.0, 1.0]), "Least Connections");
        assert_eq!(with_weights("ip_hash", &[1.0]), "IP Hash (Session Affinity)");
        assert_eq!(with_weights("random", &[]), "Random");
    }

    #[test]
    fn abbreviations_stay_such() {
        assert_eq!(of("peak_ewma"), "Peak EWMA");
        assert_eq!(of("p2c"), "P2C");
    }

    #[test]
    fn a_hundred_weights_are_not_a_title() {
        assert_eq!(with_weights("weighted_random", &[1.5; 100]), "Weighted Random");
        assert_eq!(with_weights("weighted_random", &[1.5, 2.0]), "Weighted Random (1.5:2)");
    }
}
