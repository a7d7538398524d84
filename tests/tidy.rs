//! Guards what the map in `src/lib.rs` says: which modules there are, and what is deliberately absent.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines that a source file may have, its tests included. A longer one answers two questions.
const FILE_LINES_MAX: usize = 450;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below this folder, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a readable source");
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has sources");
    found
}

/// What stands before the tests of a file.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

#[test]
fn every_file_says_what_it_is_for_and_answers_one_question() {
    for folder in ["src", "tests", "examples"] {
        for (path, text) in sources(folder) {
            let path = path.display();
            assert!(text.starts_with("//! "), "{path} does not open with what it is for");
            let lines = text.lines().count();
            assert!(lines <= FILE_LINES_MAX, "{path} has {lines} lines");
            for mark in [concat!("TO", "DO"), concat!("FIX", "ME")] {
                assert!(!text.contains(mark), "{path} holds a {mark}");
            }
        }
    }
}

#[test]
fn the_map_names_every_module_of_the_library() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let map: String = lib.lines().filter(|line| line.starts_with("//!")).collect();
    let modules = lib.lines().filter_map(|line| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix("mod ")?.strip_suffix(';')
    });
    for module in modules {
        assert!(map.contains(&format!("`{module}")), "the map does not name `{module}`");
    }
}

#[test]
fn only_the_system_file_sends_and_nobody_looks_names_up() {
    for (path, text) in sources("src") {
        let text = without_tests(&text);
        let is_system = path.ends_with("src/sys.rs");
        assert_eq!(text.contains("net::send("), is_system, "{}", path.display());
        for absent in ["to_socket_addrs", "lookup_host", "getnameinfo", "async fn", ".await"] {
            assert!(!text.contains(absent), "{} holds {absent}", path.display());
        }
    }
}

#[test]
fn the_library_knows_no_arguments_no_environment_and_no_standard_streams() {
    let program = ["main.rs", "cli.rs", "console.rs", "logging.rs", "output.rs", "signals.rs"];
    for (path, text) in sources("src") {
        let is_program = program.iter().any(|file| path.ends_with(Path::new("src").join(file)))
            || path.starts_with(root().join("src/console"));
        for absent in ["std::env", "stdin()", "stdout()", "stderr()", "process::exit"] {
            let held = without_tests(&text).contains(absent);
            assert!(is_program || !held, "{} holds {absent}", path.display());
        }
    }
}
