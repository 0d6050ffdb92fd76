//! The top-level members of a body, read by serde and borrowed from the body: fields of the schema by index, unknown
//! ones in the order in which their names first came. Of a duplicated name the last value wins.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::schema::{self, FIELDS, Field};

/// Up to this many unknown names are compared one by one. More are looked up in a map, so that the time stays in
/// proportion to the size of the body.
const LINEAR_MAX: usize = 16;

/// The members of one object.
#[derive(Default)]
pub(super) struct Members<'a> {
    schema: [Option<&'a RawValue>; FIELDS],
    unknown: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// Each name's index in `unknown`; empty until there are more than [`LINEAR_MAX`].
    places: HashMap<Cow<'a, str>, usize>,
}

impl<'a> Members<'a> {
    /// The members of a payload. `None`: it is not a JSON object.
    pub(super) fn of(payload: &'a [u8]) -> Option<Self> {
        // All at once: from bytes, serde would check each string by itself.
        serde_json::from_str(str::from_utf8(payload).ok()?).ok()
    }

    /// The JSON of a field of the schema, as sent.
    pub(super) fn token(&self, field: Field) -> Option<&'a str> {
        self.schema[field as usize].map(RawValue::get)
    }

    /// The JSON of all fields of the schema, as sent.
    pub(super) fn tokens(&self) -> [Option<&'a str>; FIELDS] {
        self.schema.map(|value| value.map(RawValue::get))
    }

    /// The decoded names and the JSON of the unknown members.
    pub(super) fn unknown(&self) -> impl Iterator<Item = (&Cow<'a, str>, &'a str)> {
        self.unknown.iter().map(|(name, value)| (name, value.get()))
    }

    fn put_unknown(&mut self, name: Cow<'a, str>, value: &'a RawValue) {
        let place = if self.unknown.len() <= LINEAR_MAX {
            self.unknown.iter().position(|(known, _)| *known == name)
        } else {
            self.places.get(&name).copied()
        };
        if let Some(place) = place {
            self.unknown[place].1 = value;
            return;
        }
        self.unknown.push((name, value));
        let newly_listed = match self.unknown.len() {
            0..=LINEAR_MAX => return,
            count if self.places.is_empty() => 0..count,
            count => count - 1..count,
        };
        for place in newly_listed {
            self.places.insert(self.unknown[place].0.clone(), place);
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnObject;

        impl<'de> Visitor<'de> for AnObject {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                let mut hint = 0;
                while let Some(Name(name)) = map.next_key()? {
                    let value: &'de RawValue = map.next_value()?;
                    if let Some(index) = schema::find(&name, hint) {
                        members.schema[index] = Some(value);
                        hint = index + 1;
                    } else {
                        members.put_unknown(name, value);
                    }
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(AnObject)
    }
}

/// The name of a member: borrowed, unless it has escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AName;

        impl<'de> Visitor<'de> for AName {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_str(AName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(body: &str) -> Vec<(String, String)> {
        let members: Members<'_> = serde_json::from_str(body).unwrap();
        members.unknown().map(|(name, value)| (name.to_string(), value.to_owned())).collect()
    }

    #[test]
    fn names_are_decoded_and_matched_in_any_order() {
        let body = r#"{"level":1,"\u006cevel":2,"Level":3,"service":[ 4 ],"request_id":null}"#;
        let members: Members<'_> = serde_json::from_str(body).unwrap();
        assert_eq!(members.token(Field::Level), Some("2"));
        assert_eq!(members.token(Field::Service), Some("[ 4 ]"));
        assert_eq!(members.token(Field::RequestId), Some("null"));
        assert_eq!(members.token(Field::Env), None);
        assert_eq!(unknown(body), [("Level".to_owned(), "3".to_owned())]);
    }

    #[test]
    fn a_repeated_unknown_name_keeps_its_first_place_and_its_last_value() {
        for count in [1, LINEAR_MAX - 1, LINEAR_MAX, LINEAR_MAX + 1, LINEAR_MAX + 2, 1_000] {
            let member = |round: usize, index: usize| format!(r#""\u006b{index}":{}"#, round * count + index);
            let rounds = (0..3).flat_map(|round| (0..count).map(move |index| member(round, index)));
            let body = format!("{{{}}}", rounds.collect::<Vec<_>>().join(","));
            let last = (0..count).map(|index| (format!("k{index}"), (2 * count + index).to_string()));
            assert_eq!(unknown(&body), last.collect::<Vec<_>>(), "{count} names");
        }
    }
}
