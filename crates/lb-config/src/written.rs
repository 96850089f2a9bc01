//! What can be written: one struct a table, every key optional. What it means is decided in [`lower`](crate::lower).
//!
//! The list of known keys, "did you mean" and where a stray key belongs all follow from these structs.

use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

pub(crate) mod health;
pub(crate) mod listener;
pub(crate) mod observe;
pub(crate) mod policy;
pub(crate) mod root;
pub(crate) mod rule;
pub(crate) mod upstream;
pub(crate) mod values;

/// Where a key that stands in the wrong table belongs, in words.
pub(crate) fn owner(key: &str) -> Option<&'static str> {
    let tables = [
        (keys::<root::Root>(), "the root"),
        (keys::<rule::Rule>(), "a rule (`[[rules]]`)"),
        (keys::<upstream::Upstream>(), "an upstream (`[upstreams.NAME]`)"),
        (keys::<upstream::Backend>(), "a backend"),
        (keys::<upstream::Discover>(), "`discover` of an upstream"),
        (keys::<listener::Listener>(), "a listener (`[[listeners]]`)"),
        (keys::<root::Server>(), "`[server]`"),
        (keys::<health::HealthCheck>(), "`health_check`"),
    ];
    tables.into_iter().find(|(keys, _)| keys.contains(&key)).map(|(_, words)| words)
}

/// The keys of a table, as serde's derive knows them.
pub(crate) fn keys<T: DeserializeOwned>() -> &'static [&'static str] {
    match T::deserialize(KeysOf) {
        Err(Asked(keys)) => keys,
        Ok(_) => &[],
    }
}

/// Asks a struct for its keys and gives it nothing.
struct KeysOf;

#[derive(Debug)]
struct Asked(&'static [&'static str]);

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Asked {}

impl de::Error for Asked {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

impl<'de> Deserializer<'de> for KeysOf {
    type Error = Asked;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
        Err(Asked(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Asked> {
        Err(Asked(keys))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
