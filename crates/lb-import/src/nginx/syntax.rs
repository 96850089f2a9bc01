//! nginx' syntax: directives that end in `;` or have a block, words in quotes or not, comments, and included files.

use std::path::{Path, PathBuf};

use crate::report::{Place, Report};
use crate::{ImportError, read};

/// How deep blocks and includes may nest.
const DEEPEST: usize = 32;
/// Directives over all files.
const MOST: usize = 200_000;

/// A directive: its words, the first of which is its name, and its block.
#[derive(Debug, Clone)]
pub(super) struct Directive {
    pub(super) words: Vec<String>,
    pub(super) block: Option<Vec<Directive>>,
    pub(super) place: Place,
}

impl Directive {
    pub(super) fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// What follows the name.
    pub(super) fn arguments(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The first of them.
    pub(super) fn argument(&self) -> &str {
        self.arguments().first().map_or("", String::as_str)
    }

    pub(super) fn children(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Reads a file and what it includes.
pub(super) fn load(path: &Path, report: &mut Report) -> Result<(Vec<Directive>, Vec<String>), ImportError> {
    let root = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let mut loader = Loader { root, report, files: Vec::new(), count: 0 };
    let directives = loader.file(path, 0)?;
    Ok((directives, loader.files))
}

struct Loader<'a> {
    /// What relative names start from.
    root: PathBuf,
    report: &'a mut Report,
    files: Vec<String>,
    count: usize,
}

impl Loader<'_> {
    fn file(&mut self, path: &Path, depth: usize) -> Result<Vec<Directive>, ImportError> {
        let name = path.display().to_string();
        self.files.push(name.clone());
        let text = read(path)?;
        let mut tokens = Tokens { text: &text, at: 0, line: 1, file: &name };
        let directives = self.block(&mut tokens, depth, false)?;
        Ok(directives)
    }

    fn block(
        &mut self,
        tokens: &mut Tokens<'_>,
        depth: usize,
        is_inner: bool,
    ) -> Result<Vec<Directive>, ImportError> {
        if depth > DEEPEST {
            return Err(tokens.error("blocks or includes nest too deep"));
        }
        let mut directives = Vec::new();
        let (mut words, mut line) = (Vec::new(), 0);
        loop {
            let token = tokens.next()?;
            if words.is_empty() {
                line = tokens.line;
            }
            let block = match token {
                Token::Word(word) => {
                    words.push(word);
                    continue;
                }
                Token::End if is_inner || !words.is_empty() => {
                    return Err(tokens.error("the file ends within a directive or a block"));
                }
                Token::End => return Ok(directives),
                Token::Close if is_inner && words.is_empty() => return Ok(directives),
                Token::Close => return Err(tokens.error("unexpected `}`")),
                Token::Semicolon | Token::Open if words.is_empty() => {
                    return Err(tokens.error("a directive has no name"));
                }
                Token::Semicolon => None,
                Token::Open => Some(self.block(tokens, depth + 1, true)?),
            };
            self.count += 1;
            if self.count > MOST {
                return Err(tokens.error("there are too many directives"));
            }
            let place = Place { file: tokens.file.to_owned(), line, text: words.join(" ") };
            let directive = Directive { words: std::mem::take(&mut words), block, place };
            match directive.name() {
                "include" => directives.extend(self.include(&directive, depth + 1)?),
                _ => directives.push(directive),
            }
        }
    }

    fn include(&mut self, directive: &Directive, depth: usize) -> Result<Vec<Directive>, ImportError> {
        let pattern = self.root.join(directive.argument());
        let files = matching(&pattern);
        let is_list = pattern.to_string_lossy().contains(['*', '?', '[']);
        if files.is_empty() && !is_list {
            self.report.leave_out(&directive.place, "there is no such file");
            return Ok(Vec::new());
        }
        self.report.converted(&directive.place, format!("read: {} files", files.len()));
        let mut directives = Vec::new();
        for file in files {
            // Types of files are whole files of nothing else.
            if file.file_name().is_some_and(|name| name == "mime.types") {
                continue;
            }
            directives.extend(self.file(&file, depth)?);
        }
        Ok(directives)
    }
}

/// The files that a name with `*` and `?` in its last parts stands for, in order.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let text = part.as_os_str().to_string_lossy().into_owned();
        if !text.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut next = Vec::new();
        for folder in found {
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            let mut names: Vec<_> = names.filter(|name| is_alike(name.as_bytes(), text.as_bytes())).collect();
            names.sort();
            next.extend(names.into_iter().map(|name| folder.join(name)));
        }
        found = next;
    }
    found.retain(|path| path.is_file());
    found
}

fn is_alike(name: &[u8], pattern: &[u8]) -> bool {
    match (name.split_first(), pattern.split_first()) {
        (None, None) => true,
        (_, Some((b'*', rest))) => {
            is_alike(name, rest) || name.split_first().is_some_and(|(_, name)| is_alike(name, pattern))
        }
        (Some((_, name)), Some((b'?', rest))) => is_alike(name, rest),
        (Some((one, name)), Some((other, rest))) => one == other && is_alike(name, rest),
        _ => false,
    }
}

enum Token {
    Word(String),
    Semicolon,
    Open,
    Close,
    End,
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    file: &'a str,
}

impl Tokens<'_> {
    fn error(&self, message: &str) -> ImportError {
        ImportError::Syntax { file: self.file.to_owned(), line: self.line, message: message.to_owned() }
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        self.line += usize::from(letter == '\n');
        Some(letter)
    }

    fn next(&mut self) -> Result<Token, ImportError> {
        loop {
            match self.peek() {
                Some(letter) if letter.is_whitespace() => drop(self.take()),
                Some('#') => {
                    while self.peek().is_some_and(|letter| letter != '\n') {
                        self.take();
                    }
                }
                Some(';') => return Ok(self.mark(Token::Semicolon)),
                Some('{') => return Ok(self.mark(Token::Open)),
                Some('}') => return Ok(self.mark(Token::Close)),
                Some('"' | '\'') => return self.quoted(),
                Some(_) => return Ok(Token::Word(self.bare())),
                None => return Ok(Token::End),
            }
        }
    }

    fn mark(&mut self, token: Token) -> Token {
        self.take();
        token
    }

    fn quoted(&mut self) -> Result<Token, ImportError> {
        let quote = self.take();
        let mut word = String::new();
        loop {
            match self.take() {
                None => return Err(self.error("a quote is not closed")),
                letter if letter == quote => return Ok(Token::Word(word)),
                Some('\\') => match self.take() {
                    Some(letter @ ('"' | '\'' | '\\')) => word.push(letter),
                    Some(letter) => word.extend(['\\', letter]),
                    None => {}
                },
                Some(letter) => word.push(letter),
            }
        }
    }

    fn bare(&mut self) -> String {
        let mut word = String::new();
        while let Some(letter) = self.peek() {
            match letter {
                ';' | '{' | '}' if !(letter == '{' && word.ends_with('$')) => break,
                // `${name}` is one word.
                '{' => {
                    while let Some(letter) = self.take() {
                        word.push(letter);
                        if letter == '}' {
                            break;
                        }
                    }
                    continue;
                }
                letter if letter.is_whitespace() => break,
                '\\' => {
                    self.take();
                    word.push('\\');
                    word.extend(self.take());
                    continue;
                }
                _ => {}
            }
            word.extend(self.take());
        }
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_quotes_blocks_and_includes_are_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sites")).unwrap();
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, "a 'b c' \"d\\\"e\" ${f}g; # no\nh { i\n j\\.k$; }\ninclude sites/*.conf;\n")
            .unwrap();
        std::fs::write(folder.path().join("sites/2.conf"), "two;").unwrap();
        std::fs::write(folder.path().join("sites/1.conf"), "one;").unwrap();
        let mut report = Report::default();
        let (directives, files) = load(&file, &mut report).unwrap();
        let words: Vec<_> = directives.iter().map(|it| it.words.join("|")).collect();
        assert_eq!(words, ["a|b c|d\"e|${f}g", "h", "one", "two"]);
        let inner = &directives[1].children()[0];
        assert_eq!((inner.words.join("|").as_str(), inner.place.line), ("i|j\\.k$", 2));
        assert_eq!((files.len(), report.lines.len()), (3, 1));
    }

    #[test]
    fn what_is_no_configuration_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nginx.conf");
        for (text, words) in [
            ("a;\n}", "2: unexpected `}`"),
            ("a {\n b;", "2: the file ends"),
            ("a 'b", "1: a quote"),
            ("{", "1: a directive has no name"),
            (&"a{".repeat(100), "too deep"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = load(&file, &mut Report::default()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
