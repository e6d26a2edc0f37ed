//! How long the tags of a template are, and how many `elif` it has.
//!
//! The engine bounds how deep parentheses and blocks are nested, but not how many operators or alternatives follow one another
//! (`a ~ b ~ c …`), though each takes a frame of the stack when the template is compiled. So both are bounded before the engine sees
//! the template. So is how deep values can be nested, since a value is shown and dropped by recursion too: a tag may nest eight
//! brackets and apply eight filters, a template may `set` and `with` 32 times, and nothing is carried from one round of a loop to
//! the next. Tags are told from text just as the engine's lexer does it, or else a template could hide one.

/// Bytes of one tag. The longest chain that fits needs a tenth of the smallest stack that the gateway runs on.
pub(super) const MOST_TAG_BYTES: usize = 512;

/// `elif` of one template.
const MOST_ELIF: usize = 100;

/// `set` and `with` of one template.
const MOST_SETS: usize = 32;

/// Brackets within each other, and filters, of one tag.
const MOST_NESTED: usize = 8;

/// The line, from 1, of the first tag that is one too many, or more than a tag may be, and what may be.
pub(super) fn too_much(text: &str) -> Option<(usize, String)> {
    let bytes = text.as_bytes();
    let (mut at, mut elifs, mut sets) = (0, 0, 0);
    while let Some(opened) = opener(bytes, at) {
        let inside = opened + 2;
        at = match bytes[opened + 1] {
            // What never ends is an error, which the engine explains better.
            b'#' => inside + find(&bytes[inside..], b"#}")? + 2,
            b'%' if is_simple(&bytes[inside..], b"raw") => end_of_raw(bytes, inside)?,
            kind => {
                let tag = tag(bytes, inside, if kind == b'%' { b'%' } else { b'}' });
                let begins = |word: &[u8]| usize::from(kind == b'%' && begins_with(&bytes[inside..], word));
                elifs += begins(b"elif");
                sets += begins(b"set") + begins(b"with");
                let most = if tag.end - opened > MOST_TAG_BYTES {
                    format!("{MOST_TAG_BYTES} bytes in a tag")
                } else if tag.deepest.max(tag.filters) > MOST_NESTED {
                    format!("{MOST_NESTED} brackets within each other and as many filters in a tag")
                } else if elifs > MOST_ELIF || sets > MOST_SETS {
                    format!("{MOST_ELIF} elif, and {MOST_SETS} set and with")
                } else {
                    String::new()
                };
                if !most.is_empty() {
                    return Some((1 + text[..opened].matches('\n').count(), most));
                }
                tag.end
            }
        };
    }
    None
}

/// What is in a tag.
struct Tag {
    /// The offset behind it.
    end: usize,
    /// Brackets within each other.
    deepest: usize,
    filters: usize,
}

/// Where the next tag or comment begins.
fn opener(bytes: &[u8], from: usize) -> Option<usize> {
    let found = bytes[from..].windows(2).position(|two| matches!(two, b"{{" | b"{%" | b"{#"));
    found.map(|at| from + at)
}

/// Looks through a tag, which ends with `first` and a brace. Ends are not looked for in strings and brackets.
fn tag(bytes: &[u8], from: usize, first: u8) -> Tag {
    let mut tag = Tag { end: bytes.len(), deepest: 0, filters: 0 };
    let (mut at, mut open) = (from, 0_isize);
    while let Some(byte) = bytes.get(at) {
        if open == 0 && *byte == first && bytes.get(at + 1) == Some(&b'}') {
            tag.end = at + 2;
            break;
        }
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open -= 1,
            b'"' | b'\'' => at = end_of_string(bytes, at + 1, *byte),
            b'|' => tag.filters += 1,
            _ => {}
        }
        tag.deepest = tag.deepest.max(open.unsigned_abs());
        at += 1;
    }
    tag
}

/// The quote that ends a string.
fn end_of_string(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at
}

/// Behind `{% endraw %}`. Until there nothing is a tag.
fn end_of_raw(bytes: &[u8], mut from: usize) -> Option<usize> {
    loop {
        from += find(&bytes[from..], b"{%")? + 2;
        if is_simple(&bytes[from..], b"endraw") {
            return Some(from + find(&bytes[from..], b"%}")? + 2);
        }
    }
}

/// Whether a tag begins with this word, or one that begins with it.
fn begins_with(inside: &[u8], word: &[u8]) -> bool {
    inside[sign(inside)..].trim_ascii_start().starts_with(word)
}

/// The length of the sign for white space that a tag may begin or end with.
fn sign(bytes: &[u8]) -> usize {
    usize::from(matches!(bytes.first(), Some(b'-' | b'+')))
}

/// Whether a tag is nothing but this word: `- raw +%}`.
fn is_simple(inside: &[u8], word: &[u8]) -> bool {
    let inside = inside[sign(inside)..].trim_ascii_start();
    let Some(rest) = inside.strip_prefix(word) else { return false };
    let rest = rest.trim_ascii_start();
    rest[sign(rest)..].starts_with(b"%}")
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|two| two == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Option<usize> {
        too_much(text).map(|(line, _)| line)
    }

    #[test]
    fn long_tags_are_found_wherever_they_hide() {
        let long = "-".repeat(MOST_TAG_BYTES);
        let hidden = [
            format!("\n\n{{{{ {long} }}}}"),
            format!("a\nb\n{{% if {long} %}}"),
            format!("{{{{ '}}}}' }}}}\n\n{{{{ {long}"),
            format!("{{{{ {{'a': {{}}}} }}}}\n\n{{{{ {long} }}}}"),
            format!("{{% raw %}} {{{{ \" \n{{%- endraw -%}}\n{{{{ {long} }}}}"),
            format!("{{# ' #}}\n\n{{{{ {long} }}}}"),
            format!("{{{{ \"\\\"}}}}\" }}}}\n\n{{{{ {long} }}}}"),
        ];
        for text in &hidden {
            assert_eq!(line(text), Some(3), "{text}");
        }
        let inside = format!("{{{{ '}}}}' {long} }}}}");
        assert_eq!(line(&inside), Some(1));
        let elifs = |count: usize| format!("{{% if a %}}{}{{% endif %}}", "\n{%- elif b %}".repeat(count));
        assert_eq!((too_much(&elifs(MOST_ELIF)), line(&elifs(MOST_ELIF + 1))), (None, Some(MOST_ELIF + 2)));
        assert_eq!(
            (line(&"\n{% set a = 1 %}".repeat(32)), line(&"\n{%- set a = 1 %}".repeat(33))),
            (None, Some(34))
        );
        assert_eq!((line("{{ [[[[[[[[a]]]]]]]] }}"), line("{{ [[[[[[[[[a]]]]]]]]] }}")), (None, Some(1)));
        assert_eq!((line("{{ '||||||||||' }}"), line("{{ a|a|a|a|a|a|a|a|a|a }}")), (None, Some(1)));
        let fine = [
            format!("{long}{{{{ a }}}}{long}{{% if a %}}{long}{{% endif %}}"),
            format!("{{# {long} #}}{{% raw %}}{{{{ {long} }}}}{{% endraw %}}"),
            String::from("{"),
            String::from("{{"),
        ];
        for text in &fine {
            assert_eq!(line(text), None, "{text}");
        }
    }
}
