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
    let cursor = LogCursor::at(7, 1000 + text.len() as u64);
    Piece { text: text.as_bytes().to_vec(), counted: 0, cursor, behind: 50 }
}

fn taken(piece: Piece) -> Taken {
    let nothing = Taken { folded: Folded::default(), first: None, upto: None, rest: None, behind: 0, is_whole: false };
    take(piece, nothing, None)
}

/// Calls, requests and credits of each row, by method and status.
fn rows(folded: &Folded) -> Vec<(&str, u16, [u64; 3])> {
    let numbers = |counts: &UsageCounts| [counts.calls, counts.requests, counts.credits];
    folded.rows.iter().map(|(of, counts)| (of.method.as_str(), of.status, numbers(counts))).collect()
}

#[test]
fn a_batch_is_one_request_of_what_it_called_most() {
    let text = line("shop", "eth_getLogs:1:5,eth_call:3:3", 8, 200) + &line("shop", "eth_call:1:1", 1, 200);
    let taken = taken(piece(&text));
    assert_eq!(rows(&taken.folded), [("eth_call", 200, [4, 2, 4]), ("eth_getLogs", 200, [1, 0, 5])]);
    assert_eq!((taken.folded.lines, taken.folded.bad, taken.folded.refunds.len()), (2, 0, 0));
}

#[test]
fn what_no_node_answered_costs_nothing_and_is_given_back() {
    let text: String = [502, 503, 504, 500].map(|status| line("shop", "eth_call:2:2", 2, status)).concat();
    let taken = taken(piece(&text));
    let credits: Vec<_> = rows(&taken.folded).iter().map(|(_, status, [_, _, credits])| (*status, *credits)).collect();
    assert_eq!(credits, [(500, 2), (502, 0), (503, 0), (504, 0)]);
    let given_back: Vec<_> = taken.folded.refunds.values().collect();
    assert_eq!(given_back, [&6]);
}

#[test]
fn lines_that_cannot_be_read_are_passed_over_and_told() {
    let text = format!("no line\n{}{{}}\n", line("shop", "eth_call:1:1", 1, 200));
    let taken = taken(piece(&text));
    assert_eq!((taken.folded.lines, taken.folded.bad), (1, 2));
    assert_eq!((taken.upto, taken.behind), (Some(LogCursor::at(7, 1000 + text.len() as u64)), 50));
}

#[test]
fn what_is_more_than_goes_together_is_left_for_the_next() {
    let projects = ROWS + 3;
    let text: String = (0..projects).map(|index| line(&format!("shop-{index:04}"), "eth_call:1:1", 1, 200)).collect();
    let first = taken(piece(&text));
    assert_eq!((first.folded.rows.len(), first.folded.lines, first.is_whole), (ROWS, ROWS as u64, true));
    let rest = first.rest.unwrap();
    let (all, left) = (text.len() as u64, (text.len() / projects * 3) as u64);
    assert_eq!((first.behind, first.first), (50 + left, Some(LogCursor::at(7, 1000))));
    assert_eq!(first.upto, Some(LogCursor::at(7, 1000 + all - left)));
    let second = taken(rest);
    assert_eq!((second.folded.rows.len(), second.behind, second.rest.is_none()), (3, 50, true));
    assert_eq!((second.first, second.upto), (first.upto, Some(LogCursor::at(7, 1000 + all))));
    assert!(!second.is_whole);
}

#[test]
fn what_was_begun_is_read_again_to_its_end_and_no_further() {
    let lines = [1, 2, 3].map(|index| line(&format!("shop-{index}"), "eth_call:1:1", 1, 200));
    let goal = LogCursor::at(7, 1000 + (lines[0].len() + lines[1].len()) as u64);
    let nothing =
        || Taken { folded: Folded::default(), first: None, upto: None, rest: None, behind: 0, is_whole: false };
    let again = take(piece(&lines.concat()), nothing(), Some(goal));
    assert_eq!((again.folded.rows.len(), again.upto, again.is_whole), (2, Some(goal), true));
    assert!(again.rest.is_some());
    // Its end is where the file ended then.
    let end = take(piece(&lines[..2].concat()), nothing(), Some(goal));
    assert_eq!((end.folded.rows.len(), end.upto, end.is_whole, end.rest.is_none()), (2, Some(goal), true, true));
    // It goes on in another file.
    let other = take(piece(&lines.concat()), nothing(), Some(LogCursor::at(8, 1)));
    assert_eq!((other.folded.rows.len(), other.is_whole), (3, false));
}

#[test]
fn what_ended_in_a_later_minute_is_left_for_the_next() {
    let at = |second: u32| line("shop", "eth_call:1:1", 1, 200).replace("1763700000", &second.to_string());
    // The minute begins at 1763700000.
    let text = [at(1_763_699_998), at(1_763_699_999), at(1_763_700_000), at(1_763_699_999), at(1_763_700_001)].concat();
    let first = taken(piece(&text));
    assert_eq!((first.folded.lines, first.is_whole), (2, true));
    // A line that comes late goes with those that it comes with.
    let second = taken(first.rest.unwrap());
    assert_eq!((second.folded.lines, second.folded.rows.len(), second.is_whole), (3, 2, false));
}

#[test]
fn what_was_begun_is_read_to_its_end_however_long_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let one = line("shop", "eth_call:1:1", 1, 200);
    let lines = (6 << 20) / one.len();
    std::fs::write(folder.path().join(files::CURRENT), one.repeat(lines)).unwrap();
    let files = files::Files::new(folder.path().to_owned());
    let file = files.read_after(None, None, Duration::ZERO).unwrap().unwrap().cursor.file;
    let wanted = |goal| Wanted { after: None, goal, counted: None, rest: None, folded: Folded::default() };
    let part = reader::read(&files, wanted(None)).unwrap();
    assert!(part.folded.lines < lines as u64 && !part.is_whole, "one look reads a part only");
    let goal = LogCursor::at(file, (one.len() * lines) as u64);
    let whole = reader::read(&files, wanted(Some(goal))).unwrap();
    assert_eq!((whole.folded.lines, whole.upto, whole.is_whole), (lines as u64, Some(goal), true));
}
