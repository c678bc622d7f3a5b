//! Tests of the configuration: through one `check`, and the reference against the docs.
