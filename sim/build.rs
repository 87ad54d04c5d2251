//! The symbols of `src/outside.rs` have to be found by whoever looks for them at run time, too.

fn main() {
    for symbol in ["getrandom", "clock_gettime"] {
        println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol={symbol}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
