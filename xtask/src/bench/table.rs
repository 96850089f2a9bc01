//! Tables in Markdown, and folders for runs.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// A Markdown table that is aligned in a terminal too: the first column to the left, figures to the right.
pub(crate) fn write(text: &mut String, rows: &[Vec<String>]) {
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len))
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max())
        .map(|width| width.unwrap_or(0).max(3))
        .collect();
    for (line, row) in rows.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            _ = if column == 0 {
                write!(text, "| {cell:<width$} ")
            } else {
                write!(text, "| {cell:>width$} ")
            };
        }
        text.push_str("|\n");
        if line == 0 {
            for (column, width) in widths.iter().enumerate() {
                let dashes = "-".repeat(width + 1);
                _ = if column == 0 { write!(text, "|{dashes}-") } else { write!(text, "|{dashes}:") };
            }
            text.push_str("|\n");
        }
    }
    text.push('\n');
}

/// The folder, numbered where the day has one of that name already.
pub(crate) fn new_folder(out: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(out)?;
    for number in 1..1000 {
        let folder = if number == 1 { out.join(name) } else { out.join(format!("{name}-{number}")) };
        if !folder.exists() {
            fs::create_dir(&folder)?;
            return Ok(folder);
        }
    }
    anyhow::bail!("{} holds a thousand runs of one day", out.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_by_characters_not_bytes() {
        let mut text = String::new();
        write(&mut text, &[vec!["a".into(), "µs".into()], vec!["long".into(), "10.5".into()]]);
        assert_eq!(text, "| a    |   µs |\n|------|-----:|\n| long | 10.5 |\n\n");
    }
}
