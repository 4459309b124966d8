//! Runs the fuzzer's corpus as an ordinary test, so that its old findings are
//! checked without nightly and cargo-fuzz.

mod common;

use std::path::Path;

use common::script;

fn run_all(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    let files = std::fs::read_dir(folder.join(target)).expect("the corpus is in the repository");
    let mut count = 0;
    for file in files {
        let path = file.expect("readable folder").path();
        println!("{}", path.display());
        run(&std::fs::read(path).expect("readable file"));
        count += 1;
    }
    assert!(count >= 8, "{count} files for {target}");
}

#[test]
fn client_scripts() {
    run_all("smtp_relay", script::client_script);
}

#[test]
fn hop_scripts() {
    run_all("smtp_hop", script::hop_script);
}
