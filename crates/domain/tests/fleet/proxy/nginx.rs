//! The words of an nginx configuration, by the rules of nginx itself (`ngx_conf_read_token` in
//! `src/core/ngx_conf_file.c`), and of the Lua blocks in it by those of Lua.

/// One directive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Directive {
    /// Its name and what follows, quotes and backslashes taken off.
    pub(crate) words: Vec<String>,
    /// What ends it.
    pub(crate) end: End,
}

/// What ends a directive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// `;`
    Semicolon,
    /// `{`, directives and `}`.
    Block(Vec<Directive>),
    /// `{`, a program and `}`.
    Lua(String),
}

impl Directive {
    /// The directives in its block; none if it has no block.
    pub(crate) fn inside(&self) -> &[Directive] {
        match &self.end {
            End::Block(inside) => inside,
            End::Semicolon | End::Lua(_) => &[],
        }
    }

    /// Its words, for patterns.
    pub(crate) fn says(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }
}

/// Reads a whole file, or says why it is none.
pub(crate) fn read(text: &str) -> Result<Vec<Directive>, String> {
    let mut reader = Reader { rest: text };
    let directives = reader.block(0)?;
    if reader.rest.is_empty() { Ok(directives) } else { Err("a } closes nothing".to_owned()) }
}

/// The same directives with other words.
pub(crate) fn map(directives: Vec<Directive>, change: &impl Fn(String) -> String) -> Vec<Directive> {
    let map_one = |Directive { words, end }: Directive| Directive {
        words: words.into_iter().map(change).collect(),
        end: match end {
            End::Block(inside) => End::Block(map(inside, change)),
            other => other,
        },
    };
    directives.into_iter().map(map_one).collect()
}

struct Reader<'a> {
    rest: &'a str,
}

/// Where the words of one directive end.
#[derive(PartialEq)]
enum Stop {
    Semicolon,
    Open,
    Close,
    End,
}

/// What each byte can end or begin; most are letters of a word and mean nothing. A table, because a fuzzer makes each
/// comparison dear.
const IS_PLAIN: [bool; 256] = {
    let mut table = [true; 256];
    let special = b" \t\r\n;{}\"'\\$#";
    let mut at = 0;
    while at < special.len() {
        table[special[at] as usize] = false;
        at += 1;
    }
    table
};

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    /// Goes on by `count` bytes, after the last of which a character begins, and returns them.
    fn take(&mut self, count: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        taken
    }

    /// Bytes up to the next one that may mean something.
    fn plain(&self) -> usize {
        self.rest.bytes().position(|byte| !IS_PLAIN[usize::from(byte)]).unwrap_or(self.rest.len())
    }

    fn skip_line(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.take(end);
    }

    fn block(&mut self, depth: usize) -> Result<Vec<Directive>, String> {
        let mut directives = Vec::new();
        loop {
            let (words, stop) = self.words()?;
            let end = match stop {
                Stop::Semicolon => End::Semicolon,
                Stop::Open if words[0].ends_with("_by_lua_block") => End::Lua(self.lua()?),
                Stop::Open => End::Block(self.block(depth + 1)?),
                Stop::Close if depth == 0 => return Err("a } closes nothing".to_owned()),
                Stop::End if depth > 0 => return Err("a { is never closed".to_owned()),
                Stop::Close | Stop::End => return Ok(directives),
            };
            directives.push(Directive { words, end });
        }
    }

    /// The words up to the next `;`, `{`, `}` or the end; the first two follow a word, the others none.
    fn words(&mut self) -> Result<(Vec<String>, Stop), String> {
        let mut words = Vec::new();
        let stop = loop {
            match self.peek() {
                Some(byte) if is_space(byte) => drop(self.take(1)),
                Some(b'#') => self.skip_line(),
                Some(b';') => break Stop::Semicolon,
                Some(b'{') => break Stop::Open,
                Some(b'}') => break Stop::Close,
                None => break Stop::End,
                Some(quote @ (b'"' | b'\'')) => words.push(self.quoted(quote)?),
                Some(_) => words.push(self.word()?),
            }
        };
        if matches!(stop, Stop::Semicolon | Stop::Open) == words.is_empty() {
            return Err(format!("unexpected end of a directive after {words:?}: {}", near(self.rest)));
        }
        if stop != Stop::End {
            self.take(1);
        }
        Ok((words, stop))
    }

    /// What stands between quotes; only a space, `;`, `{` or `)` may follow.
    fn quoted(&mut self, quote: u8) -> Result<String, String> {
        self.take(1);
        let start = self.rest;
        loop {
            let plain = self.plain();
            self.take(plain);
            match self.peek() {
                None => return Err(format!("a quote is never closed: {}", near(start))),
                Some(b'\\') => self.take_escaped(),
                Some(byte) if byte == quote => {
                    let word = &start[..start.len() - self.rest.len()];
                    self.take(1);
                    if !self.peek().is_some_and(|next| is_space(next) || matches!(next, b';' | b'{' | b')')) {
                        return Err(format!("a quote ends within a word: {}", near(start)));
                    }
                    return Ok(unescaped(word));
                }
                Some(_) => drop(self.take(1)),
            }
        }
    }

    /// A word without quotes, up to a space, `;` or `{`; `${` is a part of it, and so is `}`.
    fn word(&mut self) -> Result<String, String> {
        let start = self.rest;
        loop {
            let plain = self.plain();
            self.take(plain);
            match self.peek() {
                None => return Err(format!("the file ends within a word: {}", near(start))),
                Some(b'\\') => self.take_escaped(),
                Some(b'$') => {
                    self.take(1);
                    while self.peek() == Some(b'{') {
                        self.take(1);
                    }
                }
                Some(byte) if is_space(byte) || matches!(byte, b';' | b'{') => {
                    return Ok(unescaped(&start[..start.len() - self.rest.len()]));
                }
                Some(_) => drop(self.take(1)),
            }
        }
    }

    /// A backslash and the character after it, whatever that is.
    fn take_escaped(&mut self) {
        let escaped = self.rest.chars().nth(1).map_or(0, char::len_utf8);
        self.take(1 + escaped);
    }

    /// A program up to the `}` that closes it. Braces in its strings and comments are none.
    fn lua(&mut self) -> Result<String, String> {
        let start = self.rest;
        let mut depth = 1;
        while let Some(c) = self.rest.chars().next() {
            self.take(c.len_utf8());
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                '"' | '\'' => self.lua_string(c)?,
                '-' if self.rest.starts_with('-') => self.skip_line(),
                '[' if self.rest.starts_with(['[', '=']) => return Err("Lua with long brackets".to_owned()),
                _ => {}
            }
            if depth == 0 {
                return Ok(start[..start.len() - self.rest.len() - 1].to_owned());
            }
        }
        Err("a block of Lua is never closed".to_owned())
    }

    fn lua_string(&mut self, quote: char) -> Result<(), String> {
        while let Some(c) = self.rest.chars().next().filter(|c| *c != '\n') {
            if c == '\\' {
                self.take_escaped();
                continue;
            }
            self.take(c.len_utf8());
            if c == quote {
                return Ok(());
            }
        }
        Err("a string of Lua is never closed".to_owned())
    }
}

/// A word as nginx keeps it: before a quote or a backslash the backslash goes, `\t`, `\r` and `\n` are what they mean,
/// any other backslash stays.
fn unescaped(written: &str) -> String {
    if !written.contains('\\') {
        return written.to_owned();
    }
    let mut word = String::with_capacity(written.len());
    let mut chars = written.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(escaped @ ('"' | '\'' | '\\'))) => word.push(escaped),
            ('\\', Some('t')) => word.push('\t'),
            ('\\', Some('r')) => word.push('\r'),
            ('\\', Some('n')) => word.push('\n'),
            _ => {
                word.push(c);
                continue;
            }
        }
        chars.next();
    }
    word
}

fn near(text: &str) -> String {
    format!("{:?}", text.chars().take(60).collect::<String>())
}
