//! arion-protocol.
