//! What to do about a file that cannot be read.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::parse::Format;
use crate::suggest;

/// How to mend it, as far as the file system tells.
pub(crate) fn remedy(path: &Path) -> Option<String> {
    let kind = match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Some(format!("name a file in it{}", inside(path))),
        Ok(found) if !found.is_file() => return Some("write what it says to a file".to_owned()),
        Ok(_) => fs::File::open(path).err()?.kind(),
        Err(error) => error.kind(),
    };
    match kind {
        ErrorKind::NotFound => Some(missing(path)),
        ErrorKind::PermissionDenied => closed(path),
        _ => None,
    }
}

/// A configuration in a directory.
fn inside(directory: &Path) -> String {
    let names = names_in(directory);
    let first = names.iter().find(|name| Format::from_path(Path::new(name)).is_some());
    first.map(|name| format!(", such as `{}`", directory.join(name).display())).unwrap_or_default()
}

fn missing(path: &Path) -> String {
    // A path without a directory is looked for here.
    let is_there = |path: &Path| path.as_os_str().is_empty() || path.exists();
    for ancestor in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
        if let Ok(target) = fs::read_link(ancestor)
            && !ancestor.exists()
        {
            let (link, target) = (ancestor.display(), target.display());
            return format!(
                "`{link}` is a link to `{target}`, which is not there: mend the link, or put back what it leads to"
            );
        }
        if !is_there(ancestor) && ancestor != path {
            return format!("there is no directory `{}`", ancestor.display());
        }
    }
    let directory = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let names = names_in(if directory.as_os_str().is_empty() { Path::new(".") } else { directory });
    suggest::did_you_mean(&name, names.iter().map(String::as_str))
        .unwrap_or_else(|| "put it there, or name another".to_owned())
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Whose right it is to read what this process may not: the file, or a directory on the way to it.
fn closed(path: &Path) -> Option<String> {
    let (at, found) = path.ancestors().find_map(|at| fs::metadata(at).ok().map(|found| (at, found)))?;
    let (what, right) = if found.is_dir() { ("directory ", "enter") } else { ("", "read") };
    let (user, group, mode) = (found.uid(), found.gid(), found.mode() & 0o7777);
    let at = at.display();
    let own = rustix::process::geteuid().as_raw();
    Some(format!(
        "the {what}`{at}` belongs to user {user} and group {group} with mode {mode:04o}, and this is user {own}: give it the right to {right} it, by `chown` or `chmod`"
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn it_is_said_what_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("gatewayd.toml"), "").unwrap();
        fs::create_dir(at("conf")).unwrap();
        fs::write(at("conf/a.txt"), "").unwrap();
        fs::write(at("conf/b.yaml"), "").unwrap();
        symlink("gone", at("link.toml")).unwrap();
        symlink("gone", at("..data")).unwrap();
        symlink("..data/web.toml", at("web.toml")).unwrap();
        symlink("loop.toml", at("loop.toml")).unwrap();
        for (name, said) in [
            ("gatwayd.toml", "did you mean `gatewayd.toml`?"),
            ("other.json", "put it there, or name another"),
            ("etc/gatewayd.toml", "there is no directory"),
            ("link.toml", "link.toml` is a link to `gone`, which is not there"),
            ("..data/web.toml", "..data` is a link to `gone`, which is not there"),
            ("web.toml", "web.toml` is a link to `..data/web.toml`, which is not there"),
            ("conf", "name a file in it, such as `"),
            ("conf", "/conf/b.yaml`"),
        ] {
            let remedy = remedy(&at(name)).unwrap();
            assert!(remedy.contains(said), "{name}: {remedy}");
        }
        assert_eq!(remedy(&at("loop.toml")), None);
        assert_eq!(remedy(&at("gatewayd.toml")), None);
        assert_eq!(remedy(Path::new("no-such-file-here.toml")).unwrap(), "put it there, or name another");
    }
}
