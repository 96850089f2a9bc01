//! Files, environment and flags to a typed configuration, with every diagnostic at its place.
//!
//! A load runs through these steps, one module each:
//!
//! 1. [`parse`]: TOML, YAML or JSON into one tree of values that know where they stand ([`node`]);
//! 2. [`servex`]: a `proxy:` table is lifted to the root;
//! 3. [`layers`]: flags over [`environment`] over file, through figment;
//! 4. [`expand`]: `${NAME}` and `file:` give way to what they stand for;
//! 5. [`read`]: the tree into the typed [`written`] form, unknown keys and wrong types reported all at once;
//! 6. [`availability`]: what this version does not do yet is refused or warned about;
//! 7. [`lower`]: what was written into what it means, with every check that needs more than one value.
//!
//! Architecture invariant: no port is bound, no name resolved, and nothing panics on any input.

#![expect(rustdoc::private_intra_doc_links, reason = "the steps are for readers of the source")]

mod availability;
mod de;
mod diagnostic;
mod document;
mod effective;
mod environment;
mod expand;
mod layers;
mod loaded;
mod loader;
mod lower;
mod mask;
mod member;
mod node;
mod parse;
mod read;
mod render;
mod schema;
mod servex;
mod source;
mod suggest;
mod tree;
mod unreadable;
#[expect(
    dead_code,
    reason = "keys are read and checked before what they ask for is there, see `availability`"
)]
mod written;

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use document::read_document;
pub use effective::effective;
pub use loaded::{
    AccessLogConfig, AdminConfig, AlertsConfig, Called, Loaded, Places, Provenance, Secret, TracingConfig,
};
pub use loader::{
    Collected, Sources, collect, find_config, find_config_in, load, load_str, process_environment,
    value_files,
};
pub use lower::is_own;
pub use member::{MemberError, MemberTemplate};
pub use parse::Format;
pub use schema::schema;
