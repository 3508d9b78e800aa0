use super::*;

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"to":"0x0"},"latest"]}"#;

fn reading(body: &str) -> Result<Call<'_>, Malformed> {
    read(body.as_bytes(), &Limits::default())
}

/// A body with one field put in or replaced.
fn with(field: &str) -> String {
    let name = field.split(':').next().unwrap_or_default();
    let all = [r#""jsonrpc":"2.0""#, r#""id":1"#, r#""method":"eth_call""#, r#""params":[]"#];
    let kept = all.into_iter().filter(|other| !other.starts_with(&format!("{name}:")));
    format!("{{{}}}", kept.chain([field]).collect::<Vec<_>>().join(","))
}

fn one(body: &str) -> Member<'_> {
    match reading(body) {
        Ok(Call::Single(member)) => member,
        other => panic!("{body}: {other:?}"),
    }
}

fn fault(body: &str) -> Fault {
    match reading(body) {
        Err(Malformed::Invalid(Invalid { member: None, fault })) => fault,
        other => panic!("{body}: {other:?}"),
    }
}

fn batch(members: &[&str]) -> String {
    format!("[{}]", members.join(","))
}

/// An array of arrays, `depth` in all.
fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn a_call_is_its_id_and_its_method() {
    assert_eq!(one(CALL), Member { id: Some("1"), method: "eth_call".into() });
    assert_eq!(one(r#" {"method":"a.b_C9","jsonrpc":"2.0"} "#), Member { id: None, method: "a.b_C9".into() });
}

#[test]
fn ids_stay_as_they_were_written() {
    for id in [
        "0",
        "-1",
        "1.50",
        "1e400",
        "9007199254740993",
        "123456789012345678901234567890",
        "null",
        r#""""#,
        r#""1""#,
        r#""a\u0041\n\"""#,
        r#""\ud83d\ude00""#,
        r#""é😀""#,
        r#""5a1c9a52-0c5a-4d52-a2d3-6f9d8a4f4a11""#,
    ] {
        assert_eq!(one(&with(&format!(r#""id":{id}"#))).id, Some(id));
        assert_eq!(one(&with(&format!("\"id\":\t{id}\r\n "))).id, Some(id), "without the space around");
    }
    for bad in ["[]", "{}", "true", "[1]", r#""\ud83d""#, r#""\udc00x""#] {
        assert_eq!(fault(&with(&format!(r#""id":{bad}"#))), Fault::Id, "{bad}");
    }
}

#[test]
fn params_are_skipped_whatever_they_hold() {
    for good in ["[]", "{}", "null", r#"["]}\"{[",{"method":"x","id":1,"id":2}]"#, "[1e400]", r#"["\ud800"]"#] {
        assert_eq!(one(&with(&format!(r#""params":{good}"#))).method, "eth_call", "{good}");
    }
    for bad in ["1", "true", r#""[]""#, r#""null""#] {
        assert_eq!(fault(&with(&format!(r#""params":{bad}"#))), Fault::Params, "{bad}");
    }
    assert!(one(r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#).id.is_some(), "none are needed");
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    for field in Field::ALL {
        let value = if field == Field::Params { "[]" } else { r#""2.0""# };
        for (second, fault_of) in [
            (field.as_str().to_owned(), Fault::Twice as fn(Field) -> Fault),
            (field.as_str().to_uppercase(), Fault::Spelling),
            (format!("{}{}", field.as_str()[..1].to_uppercase(), &field.as_str()[1..]), Fault::Spelling),
        ] {
            for body in [
                format!(r#"{{"{second}":{value},{}"#, &CALL[1..]),
                format!(r#"{},"{second}":{value}}}"#, &CALL[..CALL.len() - 1]),
            ] {
                assert_eq!(fault(&body), fault_of(field), "{body}");
            }
        }
    }
    // As Go folds `s`, as others lower or raise `i`; and each of them written with escapes.
    for (key, field) in [
        ("param\u{17f}", Field::Params),
        (r"param\u017f", Field::Params),
        ("j\u{17f}onrpc", Field::Jsonrpc),
        ("\u{130}d", Field::Id),
        ("\u{131}D", Field::Id),
        (r"\u0049d", Field::Id),
        (r"Me\u0074hod", Field::Method),
    ] {
        assert_eq!(fault(&format!(r#"{{"{key}":1,{}"#, &CALL[1..])), Fault::Spelling(field), "{key}");
    }
    assert_eq!(fault(&format!(r#"{{"me\u0074hod":"x",{}"#, &CALL[1..])), Fault::Twice(Field::Method));
}

#[test]
fn keys_and_values_may_be_written_with_escapes() {
    let member = one(r#"{"\u006asonrpc":"2\u002e0","i\u0064":7,"me\u0074hod":"eth\u005fcall"}"#);
    assert_eq!(member, Member { id: Some("7"), method: "eth_call".into() });
}

#[test]
fn extras_are_let_through() {
    for extra in [r#""chainId":1"#, r#""":[]"#, r#""ids":[]"#, r#""methods":{}"#, r#""meta":{"id":[{}]}"#] {
        assert_eq!(one(&with(extra)).method, "eth_call", "{extra}");
    }
}

#[test]
fn version_and_method_are_checked() {
    for bad in [r#""1.0""#, "2.0", "2", "null", r#""2.0 ""#, "[]", r#""""#] {
        assert_eq!(fault(&with(&format!(r#""jsonrpc":{bad}"#))), Fault::Version, "{bad}");
    }
    assert_eq!(fault(r#"{"id":1,"method":"eth_call"}"#), Fault::Version);
    assert_eq!(fault(r#"{"jsonrpc":"2.0","id":1}"#), Fault::NoMethod);
    assert_eq!(fault("{}"), Fault::Version);
    let (long, longer) = ("m".repeat(128), "m".repeat(129));
    for bad in ["", "eth call", "eth-call", "eth_cаll", "é", r"a\n", r"a\u0000", r"\ud800", "eth/call", &longer] {
        assert_eq!(fault(&with(&format!(r#""method":"{bad}""#))), Fault::Method, "{bad}");
    }
    for bad in ["1", "null", "[]", r#"{"a":"b"}"#] {
        assert_eq!(fault(&with(&format!(r#""method":{bad}"#))), Fault::Method, "{bad}");
    }
    assert_eq!(one(&with(&format!(r#""method":"{long}""#))).method, long);
    let escaped = r"\u006d".repeat(128);
    assert_eq!(one(&with(&format!(r#""method":"{escaped}""#))).method, long, "the longest, written the longest way");
}

#[test]
fn depth_counts_batch_and_object() {
    for field in ["params", "extra"] {
        let of = |depth| with(&format!(r#""{field}":{}"#, nested(depth)));
        assert_eq!(one(&of(31)).method, "eth_call");
        assert_eq!(fault(&of(32)), Fault::TooDeep(32));
        assert!(reading(&batch(&[&of(30)])).is_ok());
        let in_batch = Invalid { member: Some(1), fault: Fault::TooDeep(32) };
        assert_eq!(reading(&batch(&[CALL, &of(31)])), Err(in_batch.into()));
    }
    // Brackets in strings are none, and closing ones count.
    let flat = format!(r#""params":["{}","\"{}",{}1]"#, "[".repeat(99), "{".repeat(99), "[],{},".repeat(99));
    assert_eq!(one(&with(&flat)).method, "eth_call");
    let shallow = |depth| read(CALL.as_bytes(), &Limits { depth, ..Limits::default() });
    assert!(shallow(3).is_ok());
    for most in 0..3 {
        assert_eq!(shallow(most), Err(Invalid { member: None, fault: Fault::TooDeep(most) }.into()));
    }
}

#[test]
fn endless_nesting_is_refused_and_harmless() {
    let deep = nested(500_000);
    assert_eq!(fault(&with(&format!(r#""params":{deep}"#))), Fault::TooDeep(32));
    assert_eq!(fault(&with(&format!(r#""id":{deep}"#))), Fault::TooDeep(32));
    let not_object = Invalid { member: Some(0), fault: Fault::NotObject };
    assert_eq!(reading(&deep), Err(not_object.into()));
    assert!(matches!(reading(&"[".repeat(1 << 20)), Err(Malformed::Parse { .. })));
    assert!(matches!(reading(&r#"{"a":"#.repeat(1 << 17)), Err(Malformed::Parse { .. })));
}

#[test]
fn what_is_no_json_says_where() {
    for (body, said) in [
        ("", "parse error: the body is empty: send a request object or an array of them"),
        (" \r\n\t", "parse error: the body is empty: send a request object or an array of them"),
        ("{", "parse error: EOF while parsing an object at line 1 column 1"),
        ("{} {}", "parse error: trailing characters at line 1 column 4"),
        ("[{},]", "parse error: trailing comma at line 1 column 5"),
        ("{'id':1}", "parse error: key must be a string at line 1 column 2"),
    ] {
        assert_eq!(reading(body).unwrap_err().to_string(), said, "{body}");
    }
    for bad in
        ["\u{feff}{}", "// no\n{}", "{\"a\":01}", "{\"a\":\"\n\"}", "{\"a\":NaN}", "{\"a\":\"\\x\"}", "nul", "\0"]
    {
        assert!(matches!(reading(bad), Err(Malformed::Parse { .. })), "{bad:?}");
    }
    let not_text = [br#"{"jsonrpc":"2.0","method":"m","params":[""#.as_slice(), b"\xff\"]}"].concat();
    let error = read(&not_text, &Limits::default()).unwrap_err().to_string();
    assert_eq!(error, "parse error: not UTF-8 at byte 41, counted from 0");
    // A fault before it changes nothing: it is not JSON.
    assert!(matches!(reading(r#"{"jsonrpc":1,"jsonrpc":2"#), Err(Malformed::Parse { .. })));
}

#[test]
fn what_is_json_and_no_request_says_so() {
    for body in ["1", "-1", "1.5", "true", "null", r#""eth_call""#] {
        assert_eq!(fault(body), Fault::NotRequest);
    }
    assert_eq!(fault("[]"), Fault::EmptyBatch);
    for member in ["1", "-1", "1.5", "false", "null", r#""x""#, "[]", "[[1],{}]"] {
        let error = reading(&batch(&[CALL, member])).unwrap_err().to_string();
        assert_eq!(error, "invalid request: batch[1]: a request object is expected", "{member}");
    }
}

#[test]
fn a_batch_keeps_its_order() {
    let quiet = r#"{"jsonrpc":"2.0","method":"b"}"#;
    let body = batch(&[CALL, quiet, CALL]);
    let call = reading(&body).unwrap();
    let methods: Vec<_> = call.members().iter().map(|member| (member.id, member.method.as_ref())).collect();
    assert_eq!(methods, [(Some("1"), "eth_call"), (None, "b"), (Some("1"), "eth_call")]);
    assert!(!call.is_quiet());
    assert!(reading(&batch(&[quiet, quiet])).unwrap().is_quiet());
    assert!(reading(quiet).unwrap().is_quiet());
    assert!(!reading(&with(r#""id":null"#)).unwrap().is_quiet(), "null is an id");
    assert!(matches!(reading(&batch(&[CALL])), Ok(Call::Batch(_))), "of one, it stays a batch");
}

#[test]
fn a_batch_is_left_at_its_limit() {
    for (count, limit, allowed) in [(100, 100, 100), (101, 100, 100), (1_000, 5_000, 1_000), (1_001, 5_000, 1_000)] {
        let body = batch(&vec![CALL; count]);
        let limits = Limits { batch: limit, ..Limits::default() };
        match read(body.as_bytes(), &limits) {
            Ok(call) => assert_eq!((call.members().len(), count <= allowed), (count, true)),
            Err(error) => {
                assert!(count > allowed, "{count}");
                assert_eq!(
                    error.to_string(),
                    format!("the batch is too large: at most {allowed} requests are allowed")
                );
            }
        }
    }
    let unfinished = format!("[{}", "{},".repeat(101));
    assert_eq!(reading(&unfinished), Err(Malformed::BatchTooLarge { most: 100 }), "the rest is not looked at");
}

#[test]
fn ids_are_of_those_who_get_an_answer() {
    let of = |body: &str| match ids(body.as_bytes(), &Limits::default()) {
        Ids::Nobody => "nobody".to_owned(),
        Ids::One(id) => id.unwrap_or("-").to_owned(),
        Ids::Many(ids) => {
            ids.into_iter().map(|id| id.map_or_else(|bad| bad.to_string(), str::to_owned)).collect::<Vec<_>>().join(" ")
        }
    };
    let quiet = r#"{"jsonrpc":"2.0","method":"b"}"#;
    for (body, expected) in [
        (CALL, "1"),
        (quiet, "nobody"),
        (&with(r#""id":null"#), "null"),
        (&with(r#""id":"a\u0041""#), r#""a\u0041""#),
        ("", "-"),
        ("{", "-"),
        ("[]", "-"),
        ("7", "-"),
        ("{}", "-"),
        (&with(r#""id":[]"#), "-"),
        (&batch(&[quiet, quiet]), "nobody"),
        (&batch(&[CALL, quiet, &with(r#""id":"x""#)]), r#"1 "x""#),
        (
            &batch(&[CALL, "1", quiet, r#"{"id":2}"#, &with(r#""id":null"#)]),
            "1 batch[1]: a request object is expected batch[3]: jsonrpc must be the string 2.0 null",
        ),
        (&format!("[{CALL},"), "-"),
    ] {
        assert_eq!(of(body), expected, "{body}");
    }
    assert_eq!(of(&batch(&[CALL; 1_000])).split(' ').count(), 1_000, "beyond the batch limit, whatever it is");
    assert_eq!(of(&batch(&[CALL; 1_001])), "-");
    assert_eq!(ids(b"\xff", &Limits::default()), Ids::One(None));
}
