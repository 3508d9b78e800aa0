//! Answers that arrive, and are wrong.

use nodeweir_domain::fleet::probe::{Answer, Failure};

use crate::server::{Server, good, http};
use crate::{PATIENT, probe};

async fn outcome_of(answer: Vec<u8>) -> Result<Answer, Failure> {
    let server = Server::answering(move |_, _| answer.clone()).await;
    probe(PATIENT, &server.url()).await
}

fn malformed(why: &str) -> Failure {
    Failure::Malformed(why.to_owned())
}

#[tokio::test]
async fn a_good_node_answers_both_questions_over_one_connection() {
    let server = Server::answering(|_, request| good(1, request)).await;
    assert_eq!(probe(PATIENT, &server.url()).await, Ok(Answer { head: 0x1b4, chain_id: Some(1) }));
    assert_eq!((server.seen.connections(), server.seen.requests().len()), (1, 2));
}

#[tokio::test]
async fn another_chain_s_id_is_an_answer_that_the_judge_will_read() {
    let server = Server::answering(|_, request| good(137, request)).await;
    assert_eq!(probe(PATIENT, &server.url()).await.unwrap().chain_id, Some(137));
}

#[tokio::test]
async fn a_node_that_does_not_tell_its_chain_did_not_answer() {
    let server = Server::answering(|number, request| match number {
        0 => good(1, request),
        _ => {
            http("200 OK", r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"the method does not exist"}}"#)
        }
    })
    .await;
    let error = Failure::RpcError { code: -32_601, message: "the method does not exist".to_owned() };
    assert_eq!(probe(PATIENT, &server.url()).await, Err(error));
}

#[tokio::test]
async fn a_wrong_body_is_named() {
    let rpc_error = Failure::RpcError { code: -32_000, message: "header not found".to_owned() };
    for (body, failure) in [
        ("", Failure::NotJson),
        ("<html>Welcome</html>", Failure::NotJson),
        (r#"{"jsonrpc":"2.0","id":1,"result":"0x1b4"#, Failure::NotJson),
        (r#"{"jsonrpc":"2.0","id":1,"result":"0x1b4"} trailing"#, Failure::NotJson),
        ("[]", malformed("answer is not a JSON-RPC object")),
        (r#""0x1b4""#, malformed("answer is not a JSON-RPC object")),
        (r#"{"id":1,"result":null}"#, malformed("answer has no result")),
        (r#"{"id":1}"#, malformed("answer has no result")),
        (r#"{"id":1,"result":-5}"#, malformed("result is not a text such as 0x1b4")),
        (r#"{"id":1,"result":436}"#, malformed("result is not a text such as 0x1b4")),
        (r#"{"id":1,"result":["0x1"]}"#, malformed("result is not a text such as 0x1b4")),
        (r#"{"id":1,"result":"-0x5"}"#, malformed("result \"-0x5\" is not a hex quantity")),
        (r#"{"id":1,"result":"436"}"#, malformed("result \"436\" is not a hex quantity")),
        (r#"{"id":1,"result":"0xzz"}"#, malformed("result \"0xzz\" is not a hex quantity")),
        (r#"{"id":1,"result":"0x8000000000000000"}"#, malformed("result 0x8000000000000000 is too large")),
        (r#"{"id":2,"result":"0x1"}"#, malformed("answer bears another id than the question")),
        (r#"{"id":"1","result":"0x1"}"#, malformed("answer bears another id than the question")),
        (r#"{"id":1,"error":{"code":-32000,"message":"header not found"}}"#, rpc_error.clone()),
        (r#"{"id":null,"error":{"code":-32000,"message":"header not found"}}"#, rpc_error),
    ] {
        assert_eq!(outcome_of(http("200 OK", body)).await, Err(failure), "{body}");
    }
}

#[tokio::test]
async fn a_body_of_bytes_that_are_no_text_is_not_json() {
    let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 256\r\n\r\n".to_vec();
    answer.extend(0..=255);
    assert_eq!(outcome_of(answer).await, Err(Failure::NotJson));
}

#[tokio::test]
async fn another_status_than_200_is_no_answer_whatever_the_body() {
    let body = r#"{"jsonrpc":"2.0","id":1,"result":"0x1b4"}"#;
    for status in [201, 204, 400, 401, 403, 404, 405, 413, 429, 500, 502, 503, 504, 599] {
        let outcome = outcome_of(http(&format!("{status} Whatever"), body)).await;
        assert_eq!(outcome, Err(Failure::Status(status)));
    }
}

#[tokio::test]
async fn a_redirect_is_named_and_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = Server::answering(|_, request| good(1, request)).await;
        let location = elsewhere.url();
        let answer = format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(outcome_of(answer.into_bytes()).await, Err(Failure::Redirect(status)));
        assert_eq!(elsewhere.seen.connections(), 0, "nobody asked there");
    }
}

#[tokio::test]
async fn an_answer_just_below_the_bound_is_read_and_one_above_is_not() {
    let padded = |length: usize| {
        let answer = |request: &str| String::from_utf8(good(1, request)).unwrap();
        move |_: usize, request: &str| {
            let body = answer(request).split_once("\r\n\r\n").unwrap().1.to_owned();
            http("200 OK", &format!("{body}{}", " ".repeat(length - body.len())))
        }
    };
    let bound = nodeweir_domain::fleet::probe::MAX_ANSWER;
    let server = Server::answering(padded(bound)).await;
    assert_eq!(probe(PATIENT, &server.url()).await.unwrap().head, 0x1b4);
    let server = Server::answering(padded(bound + 1)).await;
    assert_eq!(probe(PATIENT, &server.url()).await, Err(Failure::TooLarge));
}
