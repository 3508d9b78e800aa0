use super::*;

fn secret() -> Secret {
    Secret::from_random(&std::array::from_fn::<u8, 64, _>(|index| u8::try_from(index * 7 % 256).unwrap())).unwrap()
}

#[test]
fn a_made_key_is_well_formed_and_each_slip_is_noticed() {
    let text = secret().reveal().to_owned();
    assert_eq!(text.len(), KEY_LENGTH);
    assert!(is_well_formed(&text) && text.starts_with("nw_"));
    for index in 0..text.len() {
        let mut slip = text.clone().into_bytes();
        slip[index] = if slip[index] == b'x' { b'y' } else { b'x' };
        assert!(!is_well_formed(str::from_utf8(&slip).unwrap()), "at {index}");
    }
    for bad in ["", "nw_", &text[1..], &format!("{text}0"), &text.to_lowercase(), &"é".repeat(20)] {
        assert!(!is_well_formed(bad), "{bad}");
        assert!(bad.parse::<Secret>().is_err(), "{bad}");
    }
}

#[test]
fn too_little_randomness_makes_no_key() {
    assert_eq!(Secret::from_random(&[255; 200]), None);
    assert_eq!(Secret::from_random(&[1; 31]), None);
}

#[test]
fn nothing_shows_the_secret_by_accident() {
    let secret = secret();
    let rest = &secret.reveal()[3..];
    assert!(!format!("{secret:?}").contains(rest));
    let digest = secret.digest();
    assert!(!format!("{digest:?} {digest} {}", digest.id()).contains(rest));
    assert!(!format!("{digest:?}").contains(&digest.to_string()));
}

#[test]
fn a_digest_survives_the_store() {
    let digest = secret().digest();
    let text = serde_json::to_string(&digest).unwrap();
    assert_eq!(serde_json::from_str::<KeyDigest>(&text).unwrap(), digest);
    for bad in ["\"\"", "\"zz\"", "7", &format!("\"{}\"", "é".repeat(32))] {
        assert!(serde_json::from_str::<KeyDigest>(bad).is_err(), "{bad}");
    }
    assert_eq!(digest.id().as_str(), &digest.to_string()[..12]);
    assert_eq!(digest.id().to_string().parse(), Ok(digest.id()));
}

#[test]
fn a_key_is_found_where_clients_put_it() {
    assert_eq!(find("p", "h", "Bearer a"), Some(Found::Text("p")));
    assert_eq!(find("", "h ", "Bearer a"), Some(Found::Text("h")));
    assert_eq!(find("", "", "bearer  a"), Some(Found::Text("a")));
    assert_eq!(find("", "", "Basic OmE="), Some(Found::Basic("OmE=")));
    for nowhere in ["", "a", "Digest a"] {
        assert_eq!(find("", "", nowhere), None);
    }
}

#[test]
fn a_key_ends_by_itself_or_by_hand() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let mut key = Key {
        digest: secret().digest(),
        project: "shop".parse().unwrap(),
        name: "web".parse().unwrap(),
        restrictions: Restrictions::default(),
        created: at(0),
        expires: Some(at(10)),
        revoked: None,
    };
    assert_eq!(key.status(at(9)), KeyStatus::Active);
    assert_eq!(key.status(at(10)), KeyStatus::Expired(at(10)));
    key.revoked = Some(at(5));
    assert_eq!(key.status(at(20)), KeyStatus::Revoked(at(5)));
}
