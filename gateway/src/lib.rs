//! arion-gateway.
