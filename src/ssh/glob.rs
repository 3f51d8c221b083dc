//! The two wildcards of ssh's patterns.

/// Matches ssh's two wildcards: `*` and `?`. After a mismatch only the last `*` takes one byte more, so that many of
/// them cost no more than pattern times name.
pub(super) fn glob_matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern_position, mut position) = (0, 0);
    // The pattern after the last `*`, and the position in the name at which it was tried.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(position) {
        match (pattern.get(pattern_position), star) {
            (Some(b'*'), _) => {
                pattern_position += 1;
                star = Some((pattern_position, position));
            }
            (Some(expected), _) if *expected == b'?' || expected == byte => {
                (pattern_position, position) = (pattern_position + 1, position + 1);
            }
            (_, Some((after_star, star_position))) => {
                (pattern_position, position) = (after_star, star_position + 1);
                star = Some((after_star, position));
            }
            (_, None) => return false,
        }
    }
    pattern.iter().skip(pattern_position).all(|rest| *rest == b'*')
}
