use super::*;

const KEY: &str = "0123456789ab";

fn line(project: &str, methods: &str, cost: u64, status: u16) -> String {
    format!(
        "{{\"time\":1763700000.250,\"project\":\"{project}\",\"key\":\"{KEY}\",\"network\":\"ethereum\",\
         \"methods\":\"{methods}\",\"cost\":{cost},\"status\":{status},\"seconds\":0.500,\"bytes_in\":300,\
         \"bytes_out\":900}}\n"
    )
}

fn piece(text: &str) -> Piece {
    let cursor = LogCursor { file: 7, offset: 1000 + text.len() as u64 };
    Piece { text: text.as_bytes().to_vec(), counted: 0, cursor, behind: 50 }
}

/// Calls, requests and credits of each row, by method and status.
fn rows(folded: &Folded) -> Vec<(&str, u16, [u64; 3])> {
    let numbers = |counts: &UsageCounts| [counts.calls, counts.requests, counts.credits];
    folded.rows.iter().map(|(of, counts)| (of.method.as_str(), of.status, numbers(counts))).collect()
}

#[test]
fn a_batch_is_one_request_of_what_it_called_most() {
    let text = line("shop", "eth_getLogs:1:5,eth_call:3:3", 8, 200) + &line("shop", "eth_call:1:1", 1, 200);
    let taken = take(piece(&text));
    assert_eq!(rows(&taken.folded), [("eth_call", 200, [4, 2, 4]), ("eth_getLogs", 200, [1, 0, 5])]);
    assert_eq!((taken.folded.lines, taken.folded.bad, taken.folded.refunds.len()), (2, 0, 0));
}

#[test]
fn what_no_node_answered_costs_nothing_and_is_given_back() {
    let text: String = [502, 503, 504, 500].map(|status| line("shop", "eth_call:2:2", 2, status)).concat();
    let taken = take(piece(&text));
    let credits: Vec<_> = rows(&taken.folded).iter().map(|(_, status, [_, _, credits])| (*status, *credits)).collect();
    assert_eq!(credits, [(500, 2), (502, 0), (503, 0), (504, 0)]);
    let given_back: Vec<_> = taken.folded.refunds.values().collect();
    assert_eq!(given_back, [&6]);
}

#[test]
fn lines_that_cannot_be_read_are_passed_over_and_told() {
    let text = format!("no line\n{}{{}}\n", line("shop", "eth_call:1:1", 1, 200));
    let taken = take(piece(&text));
    assert_eq!((taken.folded.lines, taken.folded.bad), (1, 2));
    assert_eq!((taken.cursor.offset, taken.behind), (1000 + text.len() as u64, 50));
}

#[test]
fn what_is_more_than_one_write_takes_is_left_for_the_next() {
    let projects = USAGE_ROWS + 3;
    let text: String = (0..projects).map(|index| line(&format!("shop-{index:04}"), "eth_call:1:1", 1, 200)).collect();
    let first = take(piece(&text));
    assert_eq!((first.folded.rows.len(), first.folded.lines), (USAGE_ROWS, USAGE_ROWS as u64));
    let rest = first.rest.unwrap();
    let left = (text.len() / projects * 3) as u64;
    assert_eq!((first.behind, first.cursor.offset), (50 + left, 1000 + text.len() as u64 - left));
    let second = take(rest);
    assert_eq!((second.folded.rows.len(), second.behind, second.rest.is_none()), (3, 50, true));
    assert_eq!(second.cursor.offset, 1000 + text.len() as u64);
}
