//! YAML with line numbers, as a tree that [`crate::read`] can take.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, ScanError, YamlData};
use saphyr_parser::{Event, Parser};
use serde_json::{Map, Value};

use super::Placed;
use crate::read::Step;

/// Mappings and lists within each other; a configuration has seven.
const MOST_DEPTH: usize = 32;

/// A parsed file: the values, and where each stands.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) value: Value,
    lines: Lines,
}

/// The line of a value, and of what is inside it.
#[derive(Debug, Default)]
struct Lines {
    line: usize,
    inside: Vec<(Step, Lines)>,
}

impl Lines {
    /// Where the path goes on from here, and how many of its steps that takes: a key that holds dots takes several.
    fn next(&self, path: &[Step]) -> Option<(&Self, usize)> {
        let takes = |known: &Step| match (known, path) {
            (_, []) => None,
            (known, [first, ..]) if known == first => Some(1),
            (Step::Key(known), _) => {
                let keys: Option<Vec<&str>> = path.iter().take(1 + known.matches('.').count()).map(Step::key).collect();
                keys.filter(|keys| keys.join(".") == *known).map(|keys| keys.len())
            }
            (Step::Index(_), _) => None,
        };
        let next = self.inside.iter().filter_map(|(known, next)| Some((next, takes(known)?)));
        next.max_by_key(|(_, count)| *count)
    }
}

impl Document {
    pub(super) fn parse(text: &str) -> Result<Self, Placed> {
        let fault = |line, problem: String| Placed { line, key: String::new(), problem };
        let wrong = |error: ScanError| fault(error.marker().line(), format!("this is not YAML: {}", error.info()));
        // What is loaded is walked by functions that call themselves, so it is looked at before.
        let mut depth = 0_usize;
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(wrong)?;
            match event {
                Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
                Event::MappingEnd | Event::SequenceEnd => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > MOST_DEPTH {
                let problem = format!("more than {MOST_DEPTH} mappings and lists stand within each other");
                return Err(fault(span.start.line(), problem));
            }
        }
        let documents = MarkedYaml::load_from_str(text).map_err(wrong)?;
        match documents.as_slice() {
            [] => Ok(Self { value: Value::Object(Map::new()), lines: Lines { line: 1, inside: Vec::new() } }),
            [document] => {
                let (value, lines) = convert(document, document.span.start.line())?;
                Ok(Self { value, lines })
            }
            [_, second, ..] => {
                Err(fault(second.span.start.line(), "a configuration is one document, this is a second".to_owned()))
            }
        }
    }

    /// The line of the place, or of the nearest place above it that is in the file.
    pub(super) fn line(&self, path: &[Step]) -> usize {
        let (mut here, mut rest) = (&self.lines, path);
        while let Some((next, count)) = here.next(rest) {
            (here, rest) = (next, &rest[count..]);
        }
        here.line.max(1)
    }
}

/// `line` is where the value's key stands, which is where people look.
fn convert(node: &MarkedYaml<'_>, line: usize) -> Result<(Value, Lines), Placed> {
    let mut lines = Lines { line, inside: Vec::new() };
    let fault = |line, problem: &str| Placed { line, key: String::new(), problem: problem.to_owned() };
    let value = match &node.data {
        YamlData::Value(scalar) => match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(value) => Value::from(*value),
            Scalar::Integer(value) => Value::from(*value),
            // JSON has no such number, and nothing would come of it.
            Scalar::FloatingPoint(value) if !value.is_finite() => {
                return Err(fault(node.span.start.line(), "a number is expected that is neither infinite nor none"));
            }
            Scalar::FloatingPoint(value) => Value::from(value.into_inner()),
            Scalar::String(value) => Value::from(value.as_ref()),
        },
        YamlData::Sequence(items) => {
            let mut values = Vec::new();
            for (index, item) in items.iter().enumerate() {
                let (value, inside) = convert(item, item.span.start.line())?;
                values.push(value);
                lines.inside.push((Step::Index(index), inside));
            }
            Value::Array(values)
        }
        YamlData::Mapping(pairs) => {
            let mut map = Map::new();
            for (key, item) in pairs {
                let at = key.span.start.line();
                let YamlData::Value(scalar) = &key.data else { return Err(fault(at, "a key must be a plain word")) };
                let name = match scalar {
                    Scalar::String(text) => text.to_string(),
                    Scalar::Integer(number) => number.to_string(),
                    Scalar::Boolean(value) => value.to_string(),
                    _ => return Err(fault(at, "a key must be a plain word")),
                };
                let (value, inside) = convert(item, at)?;
                lines.inside.push((Step::Key(name.clone()), inside));
                if map.insert(name.clone(), value).is_some() {
                    return Err(fault(at, &format!("`{}` stands here a second time", crate::name::shown(&name))));
                }
            }
            Value::Object(map)
        }
        YamlData::Tagged(_, inner) => return convert(inner, line),
        YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => {
            return Err(fault(
                node.span.start.line(),
                "this value cannot be read; write it out as plain text, number, list or mapping",
            ));
        }
    };
    Ok((value, lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_keys() {
        let document = Document::parse("a: 1\nb:\n  c:\n    - x\n    - y: 2\n").unwrap();
        let key = |name: &str| Step::Key(name.to_owned());
        assert_eq!(document.line(&[key("a")]), 1);
        assert_eq!(document.line(&[key("b"), key("c"), Step::Index(1), key("y")]), 5);
        assert_eq!(document.line(&[key("b"), key("missing")]), 2);
    }

    #[test]
    fn what_is_not_one_plain_document_is_refused_with_its_line() {
        for (text, line, part) in [
            ("a: 1\nb: [1, 2\n", 3, "not YAML"),
            ("a: 1\na: 2\n", 2, "a"),
            ("a: 1\n---\nb: 1\n", 3, "second"),
            ("? [1, 2]\n: 3\n", 1, "plain word"),
        ] {
            let fault = Document::parse(text).unwrap_err();
            assert!(fault.line.abs_diff(line) <= 1, "{text:?}: {fault:?}");
            assert!(fault.problem.contains(part), "{text:?}: {fault:?}");
        }
    }

    #[test]
    fn deep_nesting_and_aliases_do_not_break_it() {
        let deep = "[".repeat(100_000);
        assert!(Document::parse(&deep).is_err());
        // A file of these once ended the program.
        for deep in ["- ".repeat(100_000), "? ".repeat(100_000), format!("{}x{}", "[".repeat(33), "]".repeat(33))] {
            let fault = Document::parse(&deep).unwrap_err();
            assert_eq!(fault.problem, "more than 32 mappings and lists stand within each other");
        }
        assert!(Document::parse(&format!("{}x{}", "[".repeat(32), "]".repeat(32))).is_ok());
        let laughs = "a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a]\nc: [*b, *b, *b, *b]\n";
        let _ = Document::parse(laughs);
    }
}
