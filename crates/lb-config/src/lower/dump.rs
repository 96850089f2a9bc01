//! The traffic dump: of all rules, of one, and where the two meet.

use std::path::PathBuf;

use lb_dump::{DumpConfig, FilesConfig, Redaction, check_directory};

use super::Context;
use crate::tree::NodeId;
use crate::written::observe::TrafficDump;
use crate::written::root::Root;
use crate::written::rule::Rule;
use crate::written::values::{At, List, SwitchOr};

/// `traffic_dump` as it stands at the root or in a rule.
type Written = Option<Box<At<SwitchOr<TrafficDump>>>>;

/// How a rule's exchanges are dumped; nothing where they are not. What the rule says beats the root's table, but
/// for `redact`: what is hidden anywhere stays hidden.
pub(super) fn of_rule(root: &Root, rule: &Rule) -> Option<DumpConfig> {
    let tables = [table(&rule.traffic_dump), table(&root.traffic_dump)];
    let (files, _) = files(root, rule)?;
    let default = DumpConfig::default();
    Some(DumpConfig {
        files,
        sample_rate: nearest(tables, |table| Some(table.sample_rate.as_ref()?.value))
            .unwrap_or(default.sample_rate),
        include_body: nearest(tables, |table| table.include_body).unwrap_or(default.include_body),
        max_body_size: nearest(tables, |table| table.max_body_size)
            .map_or(default.max_body_size, |size| usize::try_from(size.0).unwrap_or(usize::MAX)),
        redact: redaction(tables),
    })
}

/// What can be said of a table by itself, whether or not anything is dumped by it.
pub(super) fn check(context: &mut Context<'_>, written: &Written) {
    let Some(table) = table(written) else { return };
    if let Some(share) = &table.sample_rate {
        context.fraction(share);
    }
    if let Some(count) = &table.max_files {
        context.at_least_one(count, "the file that is written to counts too");
    }
    if let Some(size) = table.max_file_size.as_ref().filter(|size| size.value.0 == 0) {
        let message = "`max_file_size` must be more than 0";
        context.error(size.id, message, "zero").help("leave the key out for 100 MiB a file");
    }
    if let Some(directory) = table.directory.as_ref().filter(|directory| directory.value.is_empty()) {
        context
            .error(directory.id, "`directory` is empty", "no directory")
            .help("leave the key out for \"./traffic_dumps\", or write `enabled = false` to dump nothing");
    }
    for entry in table.redact.iter().flat_map(List::iter) {
        if let Err(error) = Redaction::parse([entry.value.as_str()]) {
            context
                .error(entry.id, error.to_string(), "nothing would be hidden")
                .help("write a name such as \"X-Api-Key\", or a JSON path such as \"$.password\"");
        }
    }
}

/// What can be said of all directories that are written to: each can be, and has the same bounds everywhere.
pub(super) fn check_directories(context: &mut Context<'_>, root: &Root) {
    let mut known: Vec<(PathBuf, FilesConfig, NodeId)> = Vec::new();
    for rule in root.rules.iter().flat_map(List::iter) {
        let Some((files, place)) = files(root, &rule.value) else { continue };
        let Ok(directory) = std::path::absolute(&files.directory) else { continue };
        let Some((_, first, first_place)) = known.iter().find(|(other, ..)| *other == directory) else {
            if let Err(error) = check_directory(&files.directory) {
                let message = format!("the traffic dump cannot be written: {error}");
                context
                    .error(place, message, "cannot be written to")
                    .help("name a directory that gatewayd may write to, or write `traffic_dump = false`");
            }
            known.push((directory, files, place));
            continue;
        };
        if (first.max_file_size, first.max_files) != (files.max_file_size, files.max_files) {
            let first_place = context.value_place(*first_place);
            let message =
                "two traffic dumps share a directory, with different `max_file_size` or `max_files`";
            context
                .error(place, message, "the second")
                .also(first_place, "the first")
                .help("give each a `directory` of its own, or the same bounds");
        }
    }
}

/// Whether a rule is dumped, and to which files; with the place that names them.
fn files(root: &Root, rule: &Rule) -> Option<(FilesConfig, NodeId)> {
    let is_on = is_enabled(&rule.traffic_dump, is_enabled(&root.traffic_dump, None)).unwrap_or(false);
    let place = rule.traffic_dump.as_ref().or(root.traffic_dump.as_ref()).filter(|_| is_on)?.id;
    let tables = [table(&rule.traffic_dump), table(&root.traffic_dump)];
    let default = FilesConfig::default();
    let directory = nearest(tables, |table| table.directory.as_ref());
    let files = FilesConfig {
        directory: directory.map_or(default.directory, |written| PathBuf::from(&written.value)),
        max_file_size: nearest(tables, |table| table.max_file_size.as_ref())
            .map_or(default.max_file_size, |size| size.value.0),
        max_files: nearest(tables, |table| table.max_files.as_ref())
            .map_or(default.max_files, |count| count.value as usize),
    };
    Some((files, directory.map_or(place, |directory| directory.id)))
}

/// A value of the rule's table, or else of the root's.
fn nearest<'a, T>(
    tables: [Option<&'a TrafficDump>; 2],
    value: impl Fn(&'a TrafficDump) -> Option<T>,
) -> Option<T> {
    tables.into_iter().flatten().find_map(value)
}

/// What is switched; a table without `enabled` says what `otherwise` does, and is meant where nothing does.
fn is_enabled(written: &Written, otherwise: Option<bool>) -> Option<bool> {
    match written.as_ref().map(|written| &written.value) {
        None => otherwise,
        Some(SwitchOr::Switch(is_on)) => Some(*is_on),
        Some(SwitchOr::Table(table)) => table.enabled.or(otherwise).or(Some(true)),
    }
}

fn table(written: &Written) -> Option<&TrafficDump> {
    match &written.as_ref()?.value {
        SwitchOr::Table(table) => Some(table),
        SwitchOr::Switch(_) => None,
    }
}

/// What either table hides; entries that are wrong were reported with their table.
fn redaction(tables: [Option<&TrafficDump>; 2]) -> Redaction {
    let entries = tables.into_iter().flatten().filter_map(|table| table.redact.as_ref()).flat_map(List::iter);
    Redaction::parse(entries.map(|entry| entry.value.as_str())).unwrap_or_default()
}
