//! The name of a backup file that the user has not chosen.

use chrono::{DateTime, SecondsFormat, Utc};

/// The subject of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupTarget<'t> {
    /// The environment, if it has a name.
    pub environment: Option<&'t str>,
    /// The name of the database.
    pub database: &'t str,
    /// The digest of the plan.
    pub plan_digest: &'t str,
}

/// Number of digits of the plan's digest in the name: enough to find the plan, and few enough to read.
const DIGEST_DIGITS: usize = 12;

/// Returns a name such as `prod-shop-20261130T235959Z-4f2c0a1b9d8e.dump`. Other letters than those of a portable file
/// name (POSIX, 3.282) become `_`, so that no name leads elsewhere.
#[must_use]
pub fn default_file_name(target: BackupTarget<'_>, time: DateTime<Utc>) -> String {
    let BackupTarget { environment, database, plan_digest } = target;
    let time = time.to_rfc3339_opts(SecondsFormat::Secs, true).replace(['-', ':'], "");
    let digest = plan_digest.strip_prefix("sha256:").unwrap_or(plan_digest);
    let digest: String = digest.chars().take_while(char::is_ascii_hexdigit).take(DIGEST_DIGITS).collect();
    let parts = [environment.unwrap_or_default(), database, &time, &digest];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).map(portable).collect();
    format!("{}.dump", parts.join("-"))
}

fn portable(text: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '_' };
    text.chars().map(letter).take(MAX_PART_LENGTH).collect()
}

/// Longest part of the name: four of them are shorter than a file name may be (255 bytes).
const MAX_PART_LENGTH: usize = 56;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_environment_database_time_and_plan() {
        let time = DateTime::from_timestamp(1_795_982_535, 0).unwrap();
        let name = |environment, database| {
            let plan_digest = "sha256:4f2c0a1b9d8e7f6a5b4c";
            default_file_name(BackupTarget { environment, database, plan_digest }, time)
        };
        assert_eq!(name(Some("prod"), "shop"), "prod-shop-20261129T200215Z-4f2c0a1b9d8e.dump");
        assert_eq!(name(None, "../a b/ü"), "___a_b__-20261129T200215Z-4f2c0a1b9d8e.dump");
    }
}
