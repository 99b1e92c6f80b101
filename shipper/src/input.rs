//! Files that a command was given by name: why one can't be read, and what to do about it.

use std::fmt::Display;
use std::io::{Error, ErrorKind};
use std::path::Path;

/// Reads a text.
///
/// # Errors
/// A sentence with the path, the cause and the remedy.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| explain(path, &error))
}

/// What kept a file from being read, and the remedy.
pub(crate) fn explain(path: &Path, error: &Error) -> String {
    format!("failed to read {}: {error}; {}", path.display(), remedy(path, error))
}

/// What to do about a file that can't be read.
pub(crate) fn remedy(path: &Path, error: &Error) -> impl Display {
    match error.kind() {
        ErrorKind::NotFound if path.is_absolute() => "check the name".to_owned(),
        ErrorKind::NotFound => match std::env::current_dir() {
            Ok(folder) => format!("check the name, which is taken from the current folder, {}", folder.display()),
            Err(_) => "give the whole path: the current folder is gone".to_owned(),
        },
        ErrorKind::PermissionDenied => "run it as a user who may read the file and enter its folders".to_owned(),
        ErrorKind::IsADirectory => "name a file in that folder".to_owned(),
        ErrorKind::UnexpectedEof | ErrorKind::InvalidInput => "it is cut or damaged: get a whole copy".to_owned(),
        ErrorKind::InvalidData => "save it as UTF-8 text".to_owned(),
        _ => "the kernel log (dmesg) may say more of the disk".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_file_and_the_remedy() {
        let missing = read(Path::new("missing.yaml")).unwrap_err();
        assert!(missing.starts_with("failed to read missing.yaml: No such file"), "{missing}");
        assert!(missing.contains(&std::env::current_dir().unwrap().display().to_string()), "{missing}");
        let folder = read(Path::new("/")).unwrap_err();
        assert!(folder.ends_with("name a file in that folder"), "{folder}");
    }
}
