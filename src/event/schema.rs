//! The one table of the event's fields. Its order is the order of errors and of the normal form.

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A string in ISO 8601.
    Timestamp,
    /// One of [`LEVELS`].
    Level,
    /// A number, or a boolean or string that is coerced to one.
    Float,
    /// A whole number, or a boolean or string that is coerced to one.
    Integer,
    /// An object.
    Object,
}

/// A field's row in the schema.
#[derive(Debug)]
pub struct Spec {
    /// Its name.
    pub name: &'static str,
    /// The name as the normal form writes it: `"name":`.
    pub(super) label: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Neither absent nor null.
    pub required: bool,
}

macro_rules! spec {
    ($name:literal, $kind:ident, $required:literal) => {
        Spec { name: $name, label: concat!("\"", $name, "\":"), kind: Kind::$kind, required: $required }
    };
}

/// A field's index in [`SCHEMA`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    RequestId,
    Service,
    Env,
    Timestamp,
    Action,
    Level,
    Message,
    UserId,
    ProductId,
    Price,
    Quantity,
    ErrorCode,
    Stack,
    AppVersion,
    RawData,
}

/// How many fields the schema has.
pub const FIELDS: usize = Field::RawData as usize + 1;

/// Every field, in schema order.
pub const SCHEMA: [Spec; FIELDS] = [
    spec!("request_id", Text, true),
    spec!("service", Text, true),
    spec!("env", Text, true),
    spec!("timestamp", Timestamp, true),
    spec!("action", Text, true),
    spec!("level", Level, true),
    spec!("message", Text, true),
    spec!("user_id", Text, false),
    spec!("product_id", Text, false),
    spec!("price", Float, false),
    spec!("quantity", Integer, false),
    spec!("error_code", Text, false),
    spec!("stack", Text, false),
    spec!("app_version", Text, false),
    spec!("raw_data", Object, false),
];

/// The levels that exist.
pub const LEVELS: [&str; 5] = ["debug", "info", "warn", "error", "critical"];

/// The index of the field called `name`. The search starts at `hint`: most senders keep one order, so the field after
/// the last one found is the most likely.
pub(super) fn find(name: &str, hint: usize) -> Option<usize> {
    (hint..FIELDS).chain(0..hint.min(FIELDS)).find(|&index| SCHEMA[index].name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_the_names_of_its_indices_agree() {
        for (field, name) in [
            (Field::RequestId, "request_id"),
            (Field::Service, "service"),
            (Field::Env, "env"),
            (Field::Timestamp, "timestamp"),
            (Field::Action, "action"),
            (Field::Level, "level"),
            (Field::Message, "message"),
            (Field::UserId, "user_id"),
            (Field::ProductId, "product_id"),
            (Field::Price, "price"),
            (Field::Quantity, "quantity"),
            (Field::ErrorCode, "error_code"),
            (Field::Stack, "stack"),
            (Field::AppVersion, "app_version"),
            (Field::RawData, "raw_data"),
        ] {
            assert_eq!(SCHEMA[field as usize].name, name);
        }
    }

    #[test]
    fn a_name_is_found_from_any_hint() {
        for hint in 0..=FIELDS {
            for (index, spec) in SCHEMA.iter().enumerate() {
                assert_eq!(find(spec.name, hint), Some(index), "{} from {hint}", spec.name);
            }
            assert_eq!(find("Level", hint), None);
        }
    }
}
