//! Serde over the tree: what serde's derive cannot read is an error that knows its place.
//!
//! [`At`](crate::written::At) asks for the number of a value beside the value itself, under a name that no real
//! struct has (as `toml::Spanned` does).

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::tree::{Kind, NodeId, Tree};

/// The struct name by which a number is asked for.
pub(crate) const AT: &str = "$lb_config::At";

/// Why a value could not be read.
#[derive(Debug)]
pub(crate) enum Problem {
    /// A key that the table does not have.
    UnknownKey(&'static [&'static str]),
    /// A word that is none of a choice.
    UnknownWord(&'static [&'static str]),
    /// A value of another type, or outside a number's range: what was expected.
    Expected(String),
    /// A value of the right type that says nothing sensible; what comes after a newline is how to mend it.
    Invalid(String),
}

/// A problem and the innermost value it is about.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) at: Option<NodeId>,
    pub(crate) problem: Problem,
}

impl Error {
    fn new(problem: Problem) -> Self {
        Self { at: None, problem }
    }

    fn at(mut self, id: NodeId) -> Self {
        self.at.get_or_insert(id);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.problem)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Problem::Invalid(message.to_string()))
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(Problem::Expected(in_words(&expected.to_string())))
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(Problem::Expected(in_words(&expected.to_string())))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownKey(expected))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownWord(expected))
    }
}

/// Serde names Rust's types; an operator knows tables and numbers.
fn in_words(expected: &str) -> String {
    match expected {
        "u8" => "a whole number from 0 to 255".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => "a whole number from 0".into(),
        "i64" => "a whole number".into(),
        "f64" => "a number".into(),
        "a boolean" => "`true` or `false`".into(),
        "a sequence" => "a list".into(),
        "a map" => "a table".into(),
        _ if expected.starts_with("struct ") => "a table".into(),
        _ if expected.starts_with("enum ") => "a word".into(),
        _ => expected.into(),
    }
}

/// One value of the tree, for serde.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'de> {
    pub(crate) tree: &'de Tree,
    pub(crate) id: NodeId,
}

impl<'de> Reader<'de> {
    pub(crate) fn root(tree: &'de Tree) -> Self {
        Self { tree, id: Tree::ROOT }
    }

    fn child(self, id: NodeId) -> Self {
        Self { id, ..self }
    }

    fn is_absent(self) -> bool {
        self.tree.is_removed(self.id) || matches!(self.tree.kind(self.id), Kind::Null)
    }

    /// Text that may be read as another type, if this is such text.
    fn loose(self) -> Option<&'de str> {
        match self.tree.kind(self.id) {
            Kind::Loose { text, .. } => Some(text.trim()),
            _ => None,
        }
    }
}

/// Numbers and switches: text without a type of its own is parsed.
macro_rules! from_loose_text {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.loose().and_then(|text| text.parse::<$type>().ok()) {
                Some(value) => visitor.$visit(value).map_err(|error: Error| error.at(self.id)),
                None => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match self.tree.kind(self.id) {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(switch) => visitor.visit_bool(*switch),
            Kind::Integer(number) => visitor.visit_i64(*number),
            Kind::Float(number) => visitor.visit_f64(*number),
            Kind::String(text) => visitor.visit_borrowed_str(text),
            Kind::Loose { text, .. } => match text.trim() {
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                word => match word.parse() {
                    Ok(number) => visitor.visit_i64(number),
                    Err(_) => visitor.visit_borrowed_str(text),
                },
            },
            // No visitor takes bytes, so each says what it wants instead.
            Kind::Other(_) => visitor.visit_bytes(&[]),
            Kind::List(items) => visitor.visit_seq(Items { reader: self, items: items.iter() }),
            Kind::Table(entries) => {
                visitor.visit_map(Keys { reader: self, entries: entries.iter(), value: None })
            }
        };
        result.map_err(|error| error.at(self.id))
    }

    from_loose_text! {
        deserialize_bool visit_bool bool;
        deserialize_u8 visit_u64 u64;
        deserialize_u16 visit_u64 u64;
        deserialize_u32 visit_u64 u64;
        deserialize_u64 visit_u64 u64;
        deserialize_i64 visit_i64 i64;
        deserialize_f64 visit_f64 f64;
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_absent() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.tree.kind(self.id) {
            Kind::Loose { text, .. } => {
                visitor.visit_borrowed_str(text).map_err(|error: Error| error.at(self.id))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.tree.kind(self.id) {
            Kind::Loose { words, .. } => visitor
                .visit_seq(Items { reader: self, items: words.iter() })
                .map_err(|error| error.at(self.id)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == AT {
            return visitor.visit_seq(Placed { reader: self, step: 0 });
        }
        // Derived visitors would also take a list of the values in the order of the struct.
        match self.tree.kind(self.id) {
            Kind::Table(_) => self.deserialize_any(visitor),
            _ => Err(Error::new(Problem::Expected("a table".into())).at(self.id)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.tree.kind(self.id) {
            Kind::String(text) | Kind::Loose { text, .. } => {
                visitor.visit_enum(Word(text)).map_err(|error: Error| error.at(self.id))
            }
            _ => Err(Error::new(Problem::Expected("a word".into())).at(self.id)),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct map ignored_any
    }
}

/// The items of a list.
struct Items<'de> {
    reader: Reader<'de>,
    items: std::slice::Iter<'de, NodeId>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(&id) = self.items.next() else { return Ok(None) };
        let tree = self.reader.tree;
        if matches!(tree.kind(id), Kind::Null) && !tree.is_removed(id) {
            return Err(Error::new(Problem::Expected("a value".into())).at(id));
        }
        seed.deserialize(self.reader.child(id)).map(Some).map_err(|error| error.at(id))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The keys and values of a table.
struct Keys<'de> {
    reader: Reader<'de>,
    entries: std::slice::Iter<'de, NodeId>,
    value: Option<NodeId>,
}

impl<'de> MapAccess<'de> for Keys<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let tree = self.reader.tree;
        let Some(id) = self.entries.find(|id| !tree.is_removed(**id)) else { return Ok(None) };
        self.value = Some(*id);
        let key: de::value::StrDeserializer<'_, Error> =
            tree.key(*id).unwrap_or_default().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|error| error.at(*id))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let id = self.value.take().unwrap_or_default();
        seed.deserialize(self.reader.child(id)).map_err(|error| error.at(id))
    }
}

/// A value with its number.
struct Placed<'de> {
    reader: Reader<'de>,
    step: u8,
}

impl<'de> SeqAccess<'de> for Placed<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.step += 1;
        match self.step {
            1 => seed.deserialize(self.reader.id.0.into_deserializer()).map(Some),
            2 => seed.deserialize(self.reader).map(Some),
            _ => Ok(None),
        }
    }
}

/// One word of a choice.
struct Word<'de>(&'de str);

impl<'de> EnumAccess<'de> for Word<'de> {
    type Error = Error;
    type Variant = UnitOnly;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, UnitOnly), Error> {
        let word: de::value::BorrowedStrDeserializer<'de, Error> =
            de::value::BorrowedStrDeserializer::new(self.0);
        seed.deserialize(word).map(|value| (value, UnitOnly))
    }
}

struct UnitOnly;

impl<'de> de::VariantAccess<'de> for UnitOnly {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Error> {
        Err(Error::new(Problem::Expected("a word".into())))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(Error::new(Problem::Expected("a word".into())))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        Err(Error::new(Problem::Expected("a word".into())))
    }
}
