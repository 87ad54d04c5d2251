//! arion-submitter.
