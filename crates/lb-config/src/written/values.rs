//! The kinds of values that keys take: with places, as lists, as words or tables, as durations and sizes.

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::SignedDuration;
use serde::de::{
    self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer,
};

use crate::de::AT;
use crate::tree::NodeId;

/// A value and its number in the tree, which is its place.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) id: NodeId,
    pub(crate) value: T,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct(AT, &[], AtVisitor(PhantomData))
    }
}

struct AtVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AtVisitor<T> {
    type Value = At<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its place")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<At<T>, A::Error> {
        let missing = || de::Error::custom("a value without a place");
        let id = NodeId(parts.next_element()?.ok_or_else(missing)?);
        Ok(At { id, value: parts.next_element()?.ok_or_else(missing)? })
    }
}

/// A list; an item that could not be read leaves a gap, so that the others keep their numbers.
#[derive(Debug, Clone)]
pub(crate) struct List<T> {
    /// Boxed, for a rule has kilobytes of keys that it may have: lists that grow would move them about.
    items: Vec<Option<Box<At<T>>>>,
}

impl<T> List<T> {
    /// The items that could be read, with their places in the list.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (usize, &At<T>)> {
        self.items.iter().enumerate().filter_map(|(index, item)| Some((index, item.as_deref()?)))
    }

    /// The items that could be read.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &At<T>> {
        self.items.iter().filter_map(Option::as_deref)
    }

    /// Nothing was written between the brackets.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|items| Self { items })
    }
}

/// A table whose keys are the user's own names, in their order.
#[derive(Debug, Clone)]
pub(crate) struct Names<T>(pub(crate) Vec<(String, At<T>)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Names<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for NamesVisitor<T> {
            type Value = Names<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names<T>, A::Error> {
                let mut names = Vec::new();
                // A value that was removed, or is null, counts as not written.
                while let Some((name, value)) = map.next_entry::<String, Option<At<T>>>()? {
                    names.extend(value.map(|value| (name, value)));
                }
                Ok(Names(names))
            }
        }

        deserializer.deserialize_map(NamesVisitor(PhantomData))
    }
}

/// A table that has a short form of one word.
pub(crate) trait Shorthand {
    /// What may stand here, for messages: `a URL or a table with `url``.
    const EXPECTED: &'static str;
}

/// `"word"` or `{ … }`.
#[derive(Debug, Clone)]
pub(crate) enum WordOr<T> {
    Word(String),
    Table(T),
}

impl<'de, T: Deserialize<'de> + Shorthand> Deserialize<'de> for WordOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Shorthand> Visitor<'de> for EitherVisitor<T> {
            type Value = WordOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<WordOr<T>, E> {
                Ok(WordOr::Word(word.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WordOr<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(WordOr::Table)
            }
        }

        deserializer.deserialize_any(EitherVisitor(PhantomData))
    }
}

/// `"word"` or `["word", …]`.
#[derive(Debug, Clone)]
pub(crate) struct Words(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordsVisitor;

        impl<'de> Visitor<'de> for WordsVisitor {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Words, E> {
                Ok(Words(vec![word.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Words, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = items.next_element::<Option<String>>()? {
                    words.extend(word);
                }
                Ok(Words(words))
            }
        }

        deserializer.deserialize_any(WordsVisitor)
    }
}

/// `true`, `false` or `{ … }`.
#[derive(Debug, Clone)]
pub(crate) enum SwitchOr<T> {
    Switch(bool),
    Table(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for SwitchOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for EitherVisitor<T> {
            type Value = SwitchOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, `false` or a table")
            }

            fn visit_bool<E: de::Error>(self, switch: bool) -> Result<SwitchOr<T>, E> {
                Ok(SwitchOr::Switch(switch))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SwitchOr<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(SwitchOr::Table)
            }
        }

        deserializer.deserialize_any(EitherVisitor(PhantomData))
    }
}

/// A span of time above zero: `"250ms"`, `"30s"`, `"1m30s"`, or a bare number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Duration);

/// Longer times are taken for a mistake; it also keeps sums of instants and times in range.
const LONGEST_TIME: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

const TIME_HELP: &str =
    "write a number with a unit, such as \"250ms\", \"30s\", \"1m30s\" or \"2h\"; a bare number is seconds";

impl Time {
    fn from_seconds<E: de::Error>(seconds: f64) -> Result<Self, E> {
        if seconds.is_nan() || seconds <= 0.0 {
            return Err(E::custom(format_args!("a time must be more than zero\n{TIME_HELP}")));
        }
        Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= LONGEST_TIME && !time.is_zero()).map(Self).ok_or_else(
            || E::custom("this time is longer than ten years, or shorter than a nanosecond\nwrite a time that was meant"),
        )
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;

        impl Visitor<'_> for TimeVisitor {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as \"30s\"")
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Time, E> {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a time of 2^53 seconds is refused whatever its last digits"
                )]
                Time::from_seconds(seconds as f64)
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Time, E> {
                Time::from_seconds(seconds)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                let text = text.trim();
                if let Ok(seconds) = text.parse() {
                    return Time::from_seconds(seconds);
                }
                let time: SignedDuration =
                    text.parse().map_err(|_| E::custom(format_args!("this is not a time\n{TIME_HELP}")))?;
                Time::from_seconds(time.as_secs_f64())
            }
        }

        deserializer.deserialize_any(TimeVisitor)
    }
}

/// A span of time, or `"p95"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    Fixed(Duration),
    P95,
}

impl<'de> Deserialize<'de> for Patience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PatienceVisitor;

        impl Visitor<'_> for PatienceVisitor {
            type Value = Patience;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as \"50ms\", or \"p95\"")
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Patience, E> {
                Time::deserialize(de::value::I64Deserializer::new(seconds))
                    .map(|time| Patience::Fixed(time.0))
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Patience, E> {
                Time::from_seconds(seconds).map(|time| Patience::Fixed(time.0))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Patience, E> {
                match text.trim() {
                    "p95" => Ok(Patience::P95),
                    text => Time::deserialize(de::value::StrDeserializer::new(text))
                        .map(|time| Patience::Fixed(time.0)),
                }
            }
        }

        deserializer.deserialize_any(PatienceVisitor)
    }
}

/// A number of bytes: `"32KiB"`, `"100MB"`, or a bare number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

const SIZE_HELP: &str =
    "write a number with a unit, such as \"32KiB\" (1024s) or \"100MB\" (1000s); a bare number is bytes";

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;

        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"32KiB\"")
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).map(Size).map_err(|_| E::custom("a size cannot be negative"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                let size: Result<ByteSize, _> = text.trim().parse();
                size.map(|size| Size(size.as_u64()))
                    .map_err(|_| E::custom(format_args!("this is not a size\n{SIZE_HELP}")))
            }
        }

        deserializer.deserialize_any(SizeVisitor)
    }
}

/// A port, or all from one to another.
#[derive(Debug, Clone)]
pub(crate) struct Ports(pub(crate) RangeInclusive<u16>);

const PORTS_HELP: &str = "write a port such as 443, or \"8000-8999\"";

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortsVisitor;

        impl Visitor<'_> for PortsVisitor {
            type Value = Ports;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port such as 443, or \"8000-8999\"")
            }

            fn visit_i64<E: de::Error>(self, port: i64) -> Result<Ports, E> {
                let port = u16::try_from(port).ok().filter(|port| *port > 0);
                let port = port.ok_or_else(|| E::custom("ports go from 1 to 65535"))?;
                Ok(Ports(port..=port))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Ports, E> {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
                match (port(first), port(last)) {
                    (Some(first), Some(last)) if first <= last => Ok(Ports(first..=last)),
                    _ => Err(E::custom(format_args!("these are no ports\n{PORTS_HELP}"))),
                }
            }
        }

        deserializer.deserialize_any(PortsVisitor)
    }
}

/// A table whose keys are not looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opaque;

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}
