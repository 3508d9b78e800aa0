//! The words of an HAProxy configuration, line by line, by the rules of HAProxy itself (section 2.2, "Quoting and
//! escaping", of its configuration manual).

/// The words of each line that has any, or why it is no file.
pub(crate) fn read(text: &str) -> Result<Vec<Vec<String>>, String> {
    let lines = text.split('\n').map(|line| words(line).map_err(|why| format!("{why}: {line}")));
    let lines: Result<Vec<_>, _> = lines.collect();
    Ok(lines?.into_iter().filter(|words| !words.is_empty()).collect())
}

/// Bytes that mean something by themselves, in quotes or without.
const SPECIAL: &[u8] = b" \t\r\"'\\#$";

/// See the same for nginx.
const IS_PLAIN: [bool; 256] = {
    let mut table = [true; 256];
    let mut at = 0;
    while at < SPECIAL.len() {
        table[SPECIAL[at] as usize] = false;
        at += 1;
    }
    table
};

fn words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    // The word that is being read; also an empty one between quotes.
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = line;
    loop {
        let plain = rest.bytes().position(|byte| !IS_PLAIN[usize::from(byte)]).unwrap_or(rest.len());
        if plain > 0 {
            word.get_or_insert_default().push_str(&rest[..plain]);
        }
        let Some(c) = rest[plain..].chars().next() else { break };
        rest = &rest[plain + 1..];
        match (c, quote) {
            ('\'', Some('\'')) | ('"', Some('"')) => quote = None,
            (c, Some('\'')) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('$', Some('"')) => return Err("a variable of the environment"),
            ('\\', _) => {
                let mut chars = rest.chars();
                word.get_or_insert_default().push(escaped(&mut chars)?);
                rest = chars.as_str();
            }
            ('#', None) => break,
            (' ' | '\t', None) => words.extend(word.take()),
            ('\r', _) => return Err("a line break within a line"),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is never closed");
    }
    words.extend(word);
    Ok(words)
}

/// What a backslash and the next character mean. Others than these are a fault here, though HAProxy lets some pass.
fn escaped(chars: &mut std::str::Chars<'_>) -> Result<char, &'static str> {
    match chars.next() {
        Some(c @ (' ' | '\\' | '#' | '"' | '\'' | '$')) => Ok(c),
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some('t') => Ok('\t'),
        _ => Err("a backslash before something else"),
    }
}
