//! Lists the shipped documents, so that none can be forgotten: each folder becomes a constant of names and texts.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

const FOLDERS: [&str; 5] = ["clients", "groups", "instruments", "providers", "services"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=documents");
    let mut code = String::new();
    for folder in FOLDERS {
        let mut paths: Vec<_> = fs::read_dir(Path::new("documents").join(folder))?
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .collect();
        paths.sort();
        let constant = folder.to_uppercase();
        let _ = writeln!(code, "/// The shipped `{folder}` documents: file name and text.");
        let _ = writeln!(code, "pub const {constant}: &[(&str, &str)] = &[");
        for path in paths {
            let (full, name) = (fs::canonicalize(&path)?, path.file_name().unwrap_or_default().to_owned());
            let _ = writeln!(code, "    ({name:?}, include_str!({full:?})),");
        }
        code.push_str("];\n");
    }
    let target = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("OUT_DIR is not set"))?;
    fs::write(Path::new(&target).join("documents.rs"), code)
}
