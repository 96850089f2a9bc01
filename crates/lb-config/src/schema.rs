//! The JSON schema of a configuration, for editors: drawn from the structs that read it, so that no key is forgotten and none
//! is written down twice.
//!
//! A deserializer is sent down one path at a time, to say what stands at its end: a table and its keys, a list, a word. What
//! takes several forms (a URL or a table) is offered each form, and says which it takes.

use std::fmt;

use serde::Deserialize;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde_json::{Map, Value, json};

use crate::de::AT;
use crate::written::root::Root;

/// Steps of a path at most; real ones are far shorter.
const DEEPEST: usize = 16;

/// The JSON schema (draft 2020-12) of a configuration, in any of its formats.
#[must_use]
pub fn schema() -> Value {
    let mut schema = node(&mut Vec::new());
    if let Some(root) = schema.as_object_mut() {
        root.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("title".into(), json!("gatewayd configuration"));
        // Servex's table: its keys are read as if they stood at the root.
        if let Some(properties) = root.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("proxy".into(), json!({ "type": "object" }));
        }
    }
    schema
}

/// One way down from a value.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The value of a table's key.
    Key(&'static str),
    /// An item of a list, or the value of one of the user's own names.
    Item,
    /// The table form of what has several.
    Table,
}

/// What is offered to a value that takes several forms.
#[derive(Debug, Clone, Copy)]
enum Offer {
    Bool,
    Integer,
    Float,
    Word,
    Table,
}

/// What stands at the end of a path.
#[derive(Debug)]
enum Found {
    Keys(&'static [&'static str]),
    List,
    Names,
    Type(&'static str),
    Words(&'static [&'static str]),
    /// One of several forms, that is not taken; and what is, in words.
    Refused(String),
    /// One of several forms, that is taken.
    Taken,
}

fn node(path: &mut Vec<Step>) -> Value {
    if path.len() > DEEPEST {
        return json!(true);
    }
    match look(path, Offer::Bool) {
        Found::Keys(keys) => {
            let mut properties = Map::new();
            for key in keys {
                properties.insert((*key).to_owned(), below(path, Step::Key(key)));
            }
            json!({ "type": "object", "properties": properties, "additionalProperties": false })
        }
        Found::List => json!({ "type": "array", "items": below(path, Step::Item) }),
        Found::Names => json!({ "type": "object", "additionalProperties": below(path, Step::Item) }),
        Found::Words(words) => json!({ "enum": words }),
        // Whatever stands in it is not looked at.
        Found::Type("object") => json!({ "type": "object", "additionalProperties": true }),
        Found::Type("string") => json!({ "type": "string" }),
        // A placeholder may stand for any value.
        Found::Type(kind) => {
            json!({ "anyOf": [{ "type": kind }, { "type": "string", "pattern": PLACEHOLDER }] })
        }
        Found::Refused(_) | Found::Taken => forms(path),
    }
}

/// A key that no table has; a table of the user's own names takes it.
const NO_KEY: &str = "\0";
/// One of the user's own names.
const ANY_NAME: &str = "name";

/// `${NAME}`, or `file:` and a path.
const PLACEHOLDER: &str = "\\$\\{|^file:";

fn below(path: &mut Vec<Step>, step: Step) -> Value {
    path.push(step);
    let value = node(path);
    path.pop();
    value
}

/// What takes several forms.
fn forms(path: &mut Vec<Step>) -> Value {
    let mut forms = Vec::new();
    let mut words = None;
    for (offer, kind) in [
        (Offer::Bool, "boolean"),
        (Offer::Integer, "integer"),
        (Offer::Float, "number"),
        (Offer::Word, "string"),
    ] {
        match look(path, offer) {
            Found::Refused(expected) => words = Some(expected),
            _ => forms.push(json!({ "type": kind })),
        }
    }
    match look(path, Offer::Table) {
        Found::Refused(expected) => words = Some(expected),
        _ => forms.push(below(path, Step::Table)),
    }
    let mut schema = json!({ "anyOf": forms });
    if let (Some(schema), Some(words)) = (schema.as_object_mut(), words) {
        schema.insert("description".into(), json!(words));
    }
    schema
}

/// Goes down a path; at its end, makes the offer to what takes several forms.
fn look(path: &[Step], offer: Offer) -> Found {
    match Root::deserialize(Explorer { path, offer }) {
        Err(Stop(found)) => found,
        Ok(_) => Found::Taken,
    }
}

/// Something was found, and the way is at its end.
#[derive(Debug)]
struct Stop(Found);

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    /// A form that is taken, though not with this value.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(Found::Taken)
    }

    /// A table that is taken, and lists its keys.
    fn unknown_field(_: &str, keys: &'static [&'static str]) -> Self {
        Self(Found::Keys(keys))
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(Found::Refused(expected.to_string()))
    }
}

/// On its way.
#[derive(Clone, Copy)]
struct Explorer<'p> {
    path: &'p [Step],
    offer: Offer,
}

impl<'p> Explorer<'p> {
    /// One step further.
    fn step(self) -> Option<(Step, Self)> {
        let (step, path) = self.path.split_first()?;
        Some((*step, Self { path, ..self }))
    }

    fn end<T>(found: Found) -> Result<T, Stop> {
        Err(Stop(found))
    }
}

macro_rules! leaves {
    ($($method:ident $kind:literal),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
            Self::end(Found::Type($kind))
        }
    )*};
}

impl<'de> Deserializer<'de> for Explorer<'_> {
    type Error = Stop;

    leaves! {
        deserialize_bool "boolean",
        deserialize_i8 "integer", deserialize_i16 "integer", deserialize_i32 "integer", deserialize_i64 "integer",
        deserialize_u8 "integer", deserialize_u16 "integer", deserialize_u32 "integer", deserialize_u64 "integer",
        deserialize_f32 "number", deserialize_f64 "number",
        deserialize_char "string", deserialize_str "string", deserialize_string "string",
        deserialize_bytes "string", deserialize_byte_buf "string", deserialize_identifier "string",
        deserialize_unit "null", deserialize_ignored_any "object",
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        if let Some((Step::Table, rest)) = self.step() {
            let (key, at) = match rest.step() {
                Some((Step::Key(key), at)) => (key, at),
                Some((_, at)) => (ANY_NAME, at),
                None => (NO_KEY, rest),
            };
            return visitor.visit_map(Entry::of(key, at));
        }
        match self.offer {
            Offer::Bool => visitor.visit_bool(true),
            Offer::Integer => visitor.visit_i64(1),
            Offer::Float => visitor.visit_f64(1.5),
            Offer::Word => visitor.visit_str("1"),
            Offer::Table => visitor.visit_map(Entry::of(NO_KEY, self)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_some(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        if name == AT {
            return visitor.visit_seq(Placed { at: self, next: Part::Place });
        }
        match self.step() {
            Some((Step::Key(key), at)) => visitor.visit_map(Entry::of(key, at)),
            _ => Self::end(Found::Keys(keys)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.step() {
            Some((_, at)) => visitor.visit_seq(Placed { at, next: Part::Value }),
            None => Self::end(Found::List),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.step() {
            Some((_, at)) => visitor.visit_map(Entry::of(ANY_NAME, at)),
            None => Self::end(Found::Names),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Result<V::Value, Stop> {
        Self::end(Found::Type("object"))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Stop> {
        Self::end(Found::Words(words))
    }
}

/// A table of one key.
struct Entry<'p> {
    key: Option<&'static str>,
    is_unknown: bool,
    at: Explorer<'p>,
}

impl<'p> Entry<'p> {
    fn of(key: &'static str, at: Explorer<'p>) -> Self {
        Self { key: Some(key), is_unknown: false, at }
    }
}

impl<'de> MapAccess<'de> for Entry<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        self.is_unknown = self.key == Some(NO_KEY);
        self.key.take().map(|key| seed.deserialize(key.into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        match self.is_unknown {
            // It was taken for one of the user's own names.
            true => Explorer::end(Found::Names),
            false => seed.deserialize(self.at),
        }
    }
}

/// A value behind its place, or the one item of a list.
struct Placed<'p> {
    at: Explorer<'p>,
    /// What comes next.
    next: Part,
}

#[derive(Clone, Copy)]
enum Part {
    Place,
    Value,
    End,
}

impl<'de> SeqAccess<'de> for Placed<'_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        match self.next {
            Part::Place => {
                self.next = Part::Value;
                seed.deserialize(0_u32.into_deserializer()).map(Some)
            }
            Part::Value => {
                self.next = Part::End;
                seed.deserialize(self.at).map(Some)
            }
            Part::End => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key of a configuration that the schema does not have, by its path.
    fn strangers(value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
        let forms =
            schema.get("anyOf").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![schema.clone()]);
        match value {
            Value::Object(table) => {
                let form = forms.iter().find(|form| form["type"] == "object").cloned().unwrap_or_default();
                for (key, value) in table {
                    let below = form["properties"].get(key).or_else(|| form.get("additionalProperties"));
                    match below {
                        Some(below) if below.is_object() => {
                            strangers(value, below, &format!("{path}.{key}"), found);
                        }
                        Some(Value::Bool(true)) => {}
                        _ => found.push(format!("{path}.{key}")),
                    }
                }
            }
            Value::Array(items) => {
                let form = forms.iter().find(|form| form["type"] == "array").cloned().unwrap_or_default();
                items.iter().for_each(|item| strangers(item, &form["items"], &format!("{path}[]"), found));
            }
            _ => {
                let kind = match value {
                    Value::String(_) => "string",
                    Value::Bool(_) => "boolean",
                    _ => "number",
                };
                let is_taken = |form: &Value| {
                    form["type"] == kind
                        || kind == "number" && form["type"] == "integer"
                        || form["enum"].as_array().is_some_and(|words| words.contains(value))
                };
                if !forms.iter().any(is_taken) {
                    found.push(format!("{path}: {value}"));
                }
            }
        }
    }

    #[test]
    fn the_reference_is_as_the_schema_wants_it_and_a_typo_is_not() {
        let reference = include_str!("../../../config/gatewayd.toml");
        let read = |text: &str| serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
        let schema = schema();
        let check = |text: &str| {
            let mut found = Vec::new();
            strangers(&read(text), &schema, "", &mut found);
            found
        };
        assert_eq!(check(reference), Vec::<String>::new());
        assert_eq!(
            check("[[rules]]\nbakends = ['a']\n[server]\nworkers = true"),
            [".rules[].bakends", ".server.workers: true"]
        );
        assert_eq!(
            check("[upstreams.a]\nbackends = [{ url = 'a', wieght = 1 }]"),
            [".upstreams.a.backends[].wieght"]
        );
        assert_eq!(
            check("[upstreams.a]\nbackends = ['a']\nload_balancing = { strategy = 'maglev', key = 'path' }"),
            Vec::<String>::new()
        );
    }
}
