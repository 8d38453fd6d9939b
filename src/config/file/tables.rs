//! Declaring the tables of the file.

/// Declares tables by their keys: for each a struct with one [`Field`](super::read::Field) a key, how it is read, and
/// what is known of it.
///
/// A key is declared by what it does, in a comment that is the manual's text, its name, what its value is, and what
/// holds without it:
///
/// ```text
/// /// How long to wait
/// patience: Duration [BOUNDS] = Duration::from_secs(2),   // a default that can be written
/// name: String => Words("the address"),                   // one that takes words to say
/// kind as "type": String => Required,                     // a name that is a word of Rust
/// ```
macro_rules! tables {
    ($($(#[doc = $table_doc:literal])+ $table:ident, $whereabouts:literal {
        $(
            $(#[doc = $doc:literal])+
            $key:ident $(as $written:literal)?: $value:ty $([$bounds:expr])? $(= $default:expr)? $(=> $absent:expr)?,
        )*
    })*) => {$(
        $(#[doc = $table_doc])+
        #[derive(Debug)]
        pub(crate) struct $table {
            $(pub(crate) $key: tables!(@field $value $(= $default)?),)*
        }

        impl $table {
            const KEYS: &'static [&'static str] = &[$(tables!(@key $key $($written)?)),*];

            pub(super) fn read_table(
                table: &toml::de::DeTable<'_>,
                reader: &mut $crate::config::file::read::Reader<'_>,
            ) -> Self {
                reader.refuse_unknown_keys(table, Self::KEYS);
                Self {$(
                    $key: reader
                        .field(table, tables!(@key $key $($written)?), Self::KEYS, &tables!(@bounds $($bounds)?))
                        $(.with_default($default))?,
                )*}
            }

            pub(super) fn describe() -> $crate::config::file::keys::Table {
                $crate::config::file::keys::Table {
                    name: stringify!($table),
                    whereabouts: $whereabouts,
                    meaning: $crate::config::file::tables::text(&[$($table_doc),+]),
                    keys: vec![$($crate::config::file::keys::Key {
                        name: tables!(@key $key $($written)?),
                        shape: <$value as $crate::config::file::read::Read<_>>::shape(&tables!(@bounds $($bounds)?)),
                        absent: tables!(@absent $value $(= $default)? $(=> $absent)?),
                        meaning: $crate::config::file::tables::text(&[$($doc),+]),
                    }),*],
                }
            }
        }

        impl $crate::config::file::read::Read for $table {
            fn read(
                raw: $crate::config::file::read::Raw<'_>,
                (): &(),
                reader: &mut $crate::config::file::read::Reader<'_>,
            ) -> Option<Self> {
                match raw.value {
                    toml::de::DeValue::Table(table) => Some(Self::read_table(table, reader)),
                    _ => reader.refuse_type(raw, "a table", None),
                }
            }

            fn shape((): &()) -> $crate::config::file::keys::Shape {
                $crate::config::file::keys::Shape::Table(Self::describe())
            }
        }
    )*};
    (@key $key:ident) => { stringify!($key) };
    (@key $key:ident $written:literal) => { $written };
    (@field $value:ty) => { $crate::config::file::read::Field<$value> };
    (@field $value:ty = $default:expr) => { $crate::config::file::read::Defaulted<$value> };
    (@bounds) => { () };
    (@bounds $bounds:expr) => { $bounds };
    (@absent $value:ty => $absent:expr) => { $absent };
    (@absent $value:ty = $default:expr) => {{
        let default: $value = $default;
        $crate::config::file::keys::Absent::Value($crate::config::file::read::Written::written(&default))
    }};
}

pub(super) use tables;

/// The lines of a comment as one line, without the full stop at its end.
pub(super) fn text(lines: &[&str]) -> String {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    lines.join(" ").trim_end_matches('.').to_owned()
}
