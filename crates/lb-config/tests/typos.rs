//! Any typo of one character in any key is met with that key.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

#[path = "support/schema.rs"]
mod schema;

use schema::Key;

#[test]
fn every_one_character_typo_of_every_key_is_met_with_that_key() {
    let keys = schema::keys();
    assert!(keys.len() > 150, "only {} keys were found", keys.len());
    let mut wrong = Vec::new();
    for key in &keys {
        let neighbours: BTreeSet<&str> =
            keys.iter().filter(|other| other.table == key.table).map(|other| other.name.as_str()).collect();
        for typo in typos(&key.name) {
            if !neighbours.contains(typo.as_str()) && !is_met(key, &typo) {
                wrong.push(format!("{}.{typo} is not met with `{}`", key.table, key.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn is_met(key: &Key, typo: &str) -> bool {
    let path = if key.table.is_empty() { typo.to_owned() } else { format!("{}.{typo}", key.table) };
    let found = schema::problems(&key.frame.replace('%', &format!("\"{typo}\": 1")));
    found.iter().any(|problem| {
        let help = problem.help.as_deref().unwrap_or_default();
        problem.path.as_deref().is_some_and(|at| at.replace('"', "") == path)
            && problem.message.contains("unknown key")
            && help.starts_with("did you mean")
            && help.contains(&format!("`{}`", key.name))
    })
}

/// A character left out, two swapped, one for another, one too many.
fn typos(word: &str) -> BTreeSet<String> {
    let letters: Vec<char> = word.chars().collect();
    let mut typos = BTreeSet::new();
    for at in 0..letters.len() {
        let mut shorter = letters.clone();
        shorter.remove(at);
        typos.insert(shorter.iter().collect());
        let mut swapped = letters.clone();
        if at + 1 < letters.len() {
            swapped.swap(at, at + 1);
            typos.insert(swapped.iter().collect());
        }
        for other in ['x', 'e', 's', '_'] {
            let mut substituted = letters.clone();
            substituted[at] = other;
            typos.insert(substituted.iter().collect());
            let mut longer = letters.clone();
            longer.insert(at, other);
            typos.insert(longer.iter().collect());
        }
    }
    typos.remove(word);
    typos.retain(|typo: &String| !typo.is_empty());
    typos
}
