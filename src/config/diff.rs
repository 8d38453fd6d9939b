//! What a reload will do.
