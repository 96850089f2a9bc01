//! Sets of methods as bits, so that asking and joining them is one instruction.

use http::{HeaderValue, Method};

use crate::error::RouteProblem;

/// Every method that the rules name, each with its bit.
#[derive(Debug, Clone)]
pub(crate) struct MethodTable {
    /// A method's bit is its place here; the standard ones come first, in the order `Allow` lists them.
    known: Vec<Method>,
}

/// Some of the methods of one [`MethodTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct MethodSet(u64);

impl MethodSet {
    /// Every method, also those no rule names.
    pub(crate) const ALL: Self = Self(u64::MAX);

    /// Whether all of `other` is in this set too.
    pub(crate) fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        self == Self::ALL || self.0 & other.0 != 0
    }

    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl MethodTable {
    pub(crate) fn new() -> Self {
        Self {
            known: vec![
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
                Method::OPTIONS,
                Method::CONNECT,
                Method::TRACE,
            ],
        }
    }

    /// The set of these methods; none means all. Methods not met before are added.
    pub(crate) fn learn(&mut self, methods: &[Method]) -> Result<MethodSet, RouteProblem> {
        if methods.is_empty() {
            return Ok(MethodSet::ALL);
        }
        let mut set = MethodSet::default();
        for method in methods {
            if self.set_of(method).is_empty() {
                // The last bit stays free: a set of all known methods must differ from `ALL`.
                if self.known.len() >= 63 {
                    return Err(RouteProblem::TooManyMethods { method: method.to_string() });
                }
                self.known.push(method.clone());
            }
            set = set.with(self.set_of(method));
        }
        Ok(set)
    }

    /// The set of this method alone; empty where no rule names it.
    pub(crate) fn set_of(&self, method: &Method) -> MethodSet {
        let place = self.known.iter().position(|known| known == method);
        MethodSet(place.map_or(0, |place| 1 << place))
    }

    /// The value of `Allow` (RFC 9110 §10.2.1).
    pub(crate) fn allow(&self, set: MethodSet) -> HeaderValue {
        let names: Vec<&str> = (0..)
            .zip(&self.known)
            .filter(|(place, _)| set.0 & 1 << place != 0)
            .map(|(_, method)| method.as_str())
            .collect();
        // A method is a token, and tokens are always header text.
        HeaderValue::from_str(&names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allow_lists_each_method_once() {
        let mut table = MethodTable::new();
        let purge = Method::from_bytes(b"PURGE").unwrap();
        let set = table.learn(&[purge.clone(), Method::HEAD, Method::GET, Method::GET]).unwrap();
        assert_eq!(table.allow(set), "GET, HEAD, PURGE");
        assert!(set.meets(table.set_of(&purge)));
        assert!(!set.meets(table.set_of(&Method::from_bytes(b"OTHER").unwrap())));
        assert!(MethodSet::ALL.meets(table.set_of(&Method::from_bytes(b"OTHER").unwrap())));
    }

    #[test]
    fn more_methods_than_bits_are_refused() {
        let mut table = MethodTable::new();
        let methods: Vec<Method> =
            (0..60).map(|n| Method::from_bytes(format!("M{n}").as_bytes()).unwrap()).collect();
        assert!(table.learn(&methods[..54]).is_ok());
        let problem = table.learn(&methods).unwrap_err();
        assert_eq!(problem, RouteProblem::TooManyMethods { method: "M54".to_owned() });
    }
}
