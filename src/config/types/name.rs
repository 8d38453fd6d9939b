//! The names that the author of a configuration gives.

use std::fmt;
use std::sync::Arc;

/// A name in the configuration: cheap to clone, compared by value.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The key of a `[listeners.NAME]` table.
    ListenerName
}
name! {
    /// The key of a `[pools.NAME]` table.
    PoolName
}
name! {
    /// The identity of a backend within its pool.
    BackendName
}
