//! The web SDK's checked-in protocol types must be the ones that the Rust types give.

use std::path::Path;

const COMMAND: &str = "UPDATE_TYPESCRIPT=1 cargo test -p convoke-protocol --test typescript";

#[test]
fn the_checked_in_types_are_current() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/web/src/generated/protocol.ts");
    let wanted = convoke_protocol::typescript::generate();
    if std::env::var_os("UPDATE_TYPESCRIPT").is_some() {
        std::fs::create_dir_all(path.parent().expect("has a parent")).expect("folder");
        std::fs::write(&path, &wanted).expect("write");
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{} has drifted; run: {COMMAND}", path.display());
}
