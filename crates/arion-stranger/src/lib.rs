//! For tests only: a daemon as a stranger meets it, as a process of its own.
//!
//! Every daemon has the same first hour: a key file that others can read, a port that is taken, a node that is not up yet
//! or is on another chain, Ctrl-C at the wrong moment. The stories are told here once; the tests of each daemon run
//! them with its real program. A story panics where the daemon leaves the stranger without help.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod disk;
mod node;
mod postgres;
mod program;
mod stories;

pub use disk::SmallDisk;
pub use node::FakeNode;
pub use postgres::{Database, Postgres};
pub use program::{Program, Running, get};

/// The tests that every daemon has; `$keys` are the flags of the key files that `init` makes, with their names there, or
/// nothing where the daemon keeps no data.
#[macro_export]
macro_rules! stories {
    ($program:ident) => {
        #[test]
        fn it_sets_itself_up() {
            $program().sets_itself_up();
        }

        #[test]
        fn mistakes_are_explained() {
            $program().explains_mistakes();
        }

        #[test]
        fn it_waits_for_the_chain_and_stops_on_a_signal() {
            $program().waits_for_the_chain();
        }

        #[test]
        fn another_chain_is_refused() {
            $program().refuses_another_chain();
        }
    };
    ($program:ident, $keys:expr) => {
        $crate::stories!($program);

        #[test]
        fn a_useless_directory_is_refused() {
            $program().refuses_a_useless_directory(&$keys);
        }
    };
}
