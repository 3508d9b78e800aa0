//! Checks what is made of a text that stands where a key is expected. The fuzz target `key` and the tests beside this file
//! call it.

use nodeweir_domain::gate::key::{Found, KEY_LENGTH, KeyDigest, Secret, find, is_well_formed};

/// Panics if the readings of a key differ, or if one that is shown gives something of it away.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = text.parse::<Secret>();
    assert_eq!(is_well_formed(text), read.is_ok());
    if let Ok(secret) = read {
        assert_eq!((secret.reveal(), text.len()), (text, KEY_LENGTH));
        let digest = KeyDigest::of(text);
        assert_eq!(secret.digest(), digest);
        assert_eq!(digest.to_string().try_into(), Ok::<KeyDigest, String>(digest));
        let shown = format!("{secret:?} {digest:?} {digest} {}", digest.id());
        assert!(!shown.contains(&text[3..]));
    }
    // What is random makes a key, and any other letter in its place makes none.
    if let Some(made) = Secret::from_random(bytes) {
        assert!(is_well_formed(made.reveal()));
        let at = 3 + usize::from(bytes[0]) % (KEY_LENGTH - 3);
        let other = if made.reveal().as_bytes()[at] == b'x' { "y" } else { "x" };
        let mut slip = made.reveal().to_owned();
        slip.replace_range(at..=at, other);
        assert!(!is_well_formed(&slip), "{slip}");
    }
    // Wherever it stands, what is found is a part of what stands there.
    for found in [find(text, "", ""), find("", text, ""), find("", "", text)].into_iter().flatten() {
        let (Found::Text(part) | Found::Basic(part)) = found;
        assert!(text.contains(part));
    }
}
