//! arion-validator.
