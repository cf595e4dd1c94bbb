//! Sees to it that the demo's files are embedded anew when they change.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let demo = Path::new("../../clients/web/dist-demo");
    // A path that is missing makes cargo build anew every time, which is right for a release, where
    // the demo may have been built meanwhile. Debug builds read the files when they run.
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if demo.exists() || release {
        println!("cargo:rerun-if-changed={}", demo.display());
    }
}
