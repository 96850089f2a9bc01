//! `limit_conn`: so many connections of one address at a listener, or so many requests of a rule at a time.

use super::Translation;
use super::syntax::Directive;
use crate::document::{Table, table};

impl Translation {
    /// Learns what `limit_conn` counts by.
    pub(super) fn learn_zones(&mut self, http: &Directive) {
        for directive in http.children().iter().filter(|it| it.name() == "limit_conn_zone") {
            let [key, more @ ..] = directive.arguments() else { continue };
            let zone = more.iter().find_map(|word| word.strip_prefix("zone="));
            let name = zone.and_then(|zone| zone.split(':').next()).unwrap_or_default();
            self.zones.insert(name.to_owned(), key.clone());
        }
    }

    /// Whether a `limit_conn` counts the connections of an address.
    pub(super) fn counts_addresses(&self, directive: &Directive) -> bool {
        matches!(self.key_of(directive), Some("$binary_remote_addr" | "$remote_addr"))
    }

    fn key_of(&self, directive: &Directive) -> Option<&str> {
        self.zones.get(directive.argument()).map(String::as_str)
    }

    /// Writes into a rule what bounds its requests. What counts by address is the listener's.
    pub(super) fn limit(&mut self, directive: &Directive, rule: &mut Table) {
        if self.counts_addresses(directive) {
            return;
        }
        let most = most(directive);
        match (self.key_of(directive), most) {
            (Some("$server_name"), Some(most)) => {
                rule.set("concurrency", table([("max", most.into())]));
                let note =
                    "concurrency of each rule here by itself: its requests at a time, over the whole process";
                self.report.approximated(&directive.place, note);
            }
            (Some(key), Some(_)) => {
                let note =
                    format!("nothing is counted by {key}: `concurrency` bounds a rule's requests at a time");
                self.report.leave_out(&directive.place, note);
            }
            _ => self.report.leave_out(&directive.place, "its zone is not known"),
        }
    }

    /// Writes into a listener how many connections an address may have, by what each of its servers says: a `limit_conn` that counts so,
    /// or nothing.
    pub(super) fn limit_addresses(&mut self, listener: &mut Table, said: &[Option<Directive>]) {
        let most: Option<Vec<i64>> = said.iter().map(|it| it.as_ref().and_then(most)).collect();
        let largest = most.and_then(|most| most.into_iter().max());
        if let Some(largest) = largest {
            listener.set("max_connections_per_address", largest);
        }
        for directive in said.iter().flatten() {
            match largest {
                Some(largest) => {
                    let note = format!(
                        "max_connections_per_address = {largest} of the listener: connections that rest count, too; what is above is closed, and not answered"
                    );
                    self.report.approximated(&directive.place, note);
                }
                None => {
                    let note = "another server at this address has no such limit, and `max_connections_per_address` is the listener's";
                    self.report.leave_out(&directive.place, note);
                }
            }
        }
    }
}

/// How many are meant.
fn most(directive: &Directive) -> Option<i64> {
    directive.arguments().get(1)?.parse().ok().filter(|most| *most > 0)
}
