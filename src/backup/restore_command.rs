//! The command that restores a backup file.

use super::dump_file::Cipher;

/// The variable that names the database to restore into, so that no password is in a command line.
const DATABASE: &str = "\"$RESTORE_URL\"";

/// Returns the command for a file at this path. It restores owners and privileges, whose roles have to exist.
#[must_use]
pub fn restore_command(path: &str, cipher: &Cipher) -> String {
    let restore = format!("pg_restore --exit-on-error --dbname={DATABASE}");
    let path = quoted(path);
    match cipher {
        Cipher::Plain => format!("{restore} {path}"),
        Cipher::Age(_) => format!("age --decrypt --identity key.txt {path} | {restore}"),
    }
}

/// Quotes a path for a POSIX shell where it needs quotes.
fn quoted(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    match path.bytes().all(is_plain) && !path.starts_with('-') {
        true => path.to_owned(),
        false if path.starts_with('-') => format!("'./{}'", path.replace('\'', r"'\''")),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_takes_the_path_as_it_is() {
        let plain = |path: &str| restore_command(path, &Cipher::Plain);
        assert_eq!(plain("backups/a.dump"), "pg_restore --exit-on-error --dbname=\"$RESTORE_URL\" backups/a.dump");
        assert!(plain("it's $x").ends_with(r" 'it'\''s $x'"));
        assert!(plain("-x").ends_with(" './-x'"));
    }
}
