//! arion-net.
