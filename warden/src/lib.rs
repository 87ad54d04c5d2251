//! arion-warden.
