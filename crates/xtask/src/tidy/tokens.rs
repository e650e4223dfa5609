//! As much of Rust as the rules need: words and signs, without comments and the insides of
//! literals, each with its line.

/// A word or a single sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'t> {
    /// Its text.
    pub text: &'t str,
    /// Where it is, from 1.
    pub line: usize,
}

/// Cuts a source text.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest, found.last());
        if length > 0 {
            line += rest[..length].matches('\n').count();
            rest = &rest[length..];
            continue;
        }
        let length = if is_word(first) {
            rest.find(|character| !is_word(character)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        if first == '\n' {
            line += 1;
        } else if !first.is_whitespace() {
            found.push(Token { text: &rest[..length], line });
        }
        rest = &rest[length..];
    }
    found
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Bytes of the comment or literal that `rest` begins with; 0 when it begins with neither.
fn skipped(rest: &str, last: Option<&Token<'_>>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if let Some(inside) = rest.strip_prefix('"') {
        return match last {
            // `r"…"`: the prefix was taken for a word, which does no harm.
            Some(Token { text: "r" | "br", .. }) => inside.find('"').map_or(rest.len(), |n| n + 2),
            _ => quoted(rest, '"'),
        };
    }
    if rest.starts_with('#') && matches!(last, Some(Token { text: "r" | "br", .. })) {
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        if rest[hashes..].starts_with('"') {
            let end = format!("\"{}", &rest[..hashes]);
            let inside = hashes + 1;
            return rest[inside..].find(&end).map_or(rest.len(), |n| inside + n + end.len());
        }
    }
    if let Some(inside) = rest.strip_prefix('\'') {
        // A character, not a lifetime: escaped, or closed after one.
        let mut inside = inside.chars();
        let (first, second) = (inside.next(), inside.next());
        if first == Some('\\') {
            return quoted(rest, '\'');
        }
        if second == Some('\'') {
            return 2 + first.map_or(0, char::len_utf8);
        }
    }
    0
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            character if character == quote => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut index) = (0, 0);
    while index < rest.len() {
        match rest.as_bytes()[index..] {
            [b'/', b'*', ..] => (depth, index) = (depth + 1, index + 2),
            [b'*', b'/', ..] => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            return index;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_words() {
        let source = "// HashMap\nuse a::b; /* f64 /* x */ f32 */ let s = \"f64 \\\" f32\";\n\
                      let c = '\"'; let d = '\\''; fn f<'a>(x: &'a str) {}\n\
                      let r = r#\"f64 \" f32\"#; let t = r\"\\\"; HashMap";
        let words: Vec<&str> = tokens(source)
            .into_iter()
            .map(|token| token.text)
            .filter(|text| text.chars().all(is_word))
            .collect();
        let expected = "use a b let s let c let d fn f a x a str let r r let t r HashMap";
        assert_eq!(words.join(" "), expected);
        assert_eq!(tokens(source).last().map(|token| token.line), Some(4));
    }
}
