//! Texts of strangers, which people will see on their terminals.

/// Whether a character moves a cursor, ends a line, or turns the direction of what follows.
pub(crate) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// The text with a space in place of every such character.
pub(crate) fn cleaned(text: &str) -> String {
    let text: String = text.chars().map(|c| if is_unsafe(c) { ' ' } else { c }).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        assert_eq!(cleaned("out of\nmemory\u{1b}[2J"), "out of memory [2J");
        assert_eq!(cleaned("\u{202e}gpj.exe\u{9b}"), "gpj.exe");
        assert_eq!(cleaned("Ünïcode bleibt"), "Ünïcode bleibt");
    }
}
