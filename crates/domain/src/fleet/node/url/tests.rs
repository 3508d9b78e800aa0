use super::*;

fn canonical(text: &str) -> String {
    text.parse::<NodeUrl>().unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
}

#[test]
fn good_urls_become_canonical() {
    for (given, kept) in [
        ("http://10.0.0.1:8545", "http://10.0.0.1:8545"),
        ("http://10.0.0.1:80/", "http://10.0.0.1"),
        ("https://Mainnet.Infura.IO/v3/${INFURA_KEY}", "https://mainnet.infura.io/v3/${INFURA_KEY}"),
        ("http://[::1]:8545/a/../b", "http://[::1]:8545/b"),
        ("wss://node.example:443/ws", "wss://node.example/ws"),
        ("http://geth_1:8545", "http://geth_1:8545"),
    ] {
        assert_eq!(canonical(given), kept);
        assert_eq!(canonical(kept), kept, "canonical text reads as itself");
    }
}

#[test]
fn hostile_urls_are_refused() {
    for bad in [
        "",
        "ftp://a",
        "http://",
        "http:///x",
        "//a",
        "http://a b",
        "http://a;",
        "http://a\"",
        "http://a'",
        "http://a\n",
        "http://a/{",
        "http://a/}",
        "http://a/$x",
        "http://a/${x}",
        "http://a/${X",
        "http://a/${}",
        "http://${HOST}/",
        "http://unix:8545",
        "http://u:p@a/",
        "http://u@a/",
        "http://a?x",
        "http://a#x",
        "http://a:0",
        "http://a:65536",
        "http://a:x",
        "http://exаmple.com",
        "http://例え.jp",
        "http://a/%0a",
        "http://a\\b",
        "http://-a",
        "http://a..b",
        "http://[::1",
        "http://a/[",
        "http://a:1:2",
        "http://a/secret-reference-X-reference-end",
        "http://a/b c",
        "http://a/;",
        "http://1.2.3.4.5",
    ] {
        assert!(bad.parse::<NodeUrl>().is_err(), "{bad:?} was accepted as {}", bad.parse::<NodeUrl>().unwrap());
    }
    assert!(format!("http://a/{}", "x".repeat(600)).parse::<NodeUrl>().is_err());
}

#[test]
fn a_password_is_not_repeated_in_the_refusal() {
    for text in [
        "https://me:hunter2@a/",
        "HTTPS://me:hunter2@a/",
        "me:hunter2@a",
        "https://me:hun/hunter2@a",
        "https://a/v3?key=hunter2",
        "https://a?key=hunter2",
        "a?key=hunter2",
        "https://me@a?key=hunter2",
    ] {
        let error = text.parse::<NodeUrl>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

/// One that grew beyond the limit could not be read again from what was published.
#[test]
fn what_is_shown_is_as_short_as_what_is_read() {
    let with = |length: usize| format!("http://1/{}", "p".repeat(length)).parse::<NodeUrl>();
    let longest = with(512 - "http://0.0.0.1/".len()).unwrap();
    assert_eq!(longest.to_string().parse(), Ok(longest));
    assert_eq!(with(512 - "http://1/".len()), Err(BadUrl::Long(518)));
}

#[test]
fn odd_spellings_of_an_address_become_the_address() {
    assert_eq!(canonical("http://0x7f.1:8545"), "http://127.0.0.1:8545");
    assert_eq!(canonical("http://2852039166"), "http://169.254.169.254");
}
