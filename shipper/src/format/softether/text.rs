//! Which message a text is: the key of the program's string table that it was made from, whatever its language.
//!
//! The program writes each message in the language that it was set to, from one table a language. `meanings.txt` says what each
//! key means and what its values are called; the files of `texts` say, for each language, how a message can be told: the few letters
//! with which it begins and ends, and those right before and behind each value. `{}` is a value, `…` is anything. Values come in
//! the order in which the program passes them, which no translation can change. A test holds these against the string tables of the
//! installed program, which are no part of this project.
//!
//! Values are not quoted, and some are text that a client chose. A text is therefore read from both ends towards the last such
//! value; where one of them could have ended elsewhere, the message is marked as suspect.

use std::sync::LazyLock;

use memchr::memmem;

use crate::format::settings::Outcome;

/// No message has more values.
const MOST: usize = 24;

const MEANINGS: &str = include_str!("meanings.txt");
/// English first: other tables fall back to it for single keys.
const TEXTS: [&str; 7] = [
    include_str!("texts/en.txt"),
    include_str!("texts/ja.txt"),
    include_str!("texts/cn.txt"),
    include_str!("texts/tw.txt"),
    include_str!("texts/ko.txt"),
    include_str!("texts/pt_br.txt"),
    include_str!("texts/tr.txt"),
];

/// Everything that is known about messages, made ready at the first use.
static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(Catalogue::new);

/// What a key stands for.
#[derive(Debug)]
pub(super) struct Meaning {
    /// The key in the program's string tables, the same in every language: `event.code`.
    pub(super) key: &'static str,
    /// `event.action`; empty for what stands before a message.
    pub(super) action: &'static str,
    /// `event.category`: the inside of a JSON list.
    pub(super) category: String,
    /// `event.type`: the inside of a JSON list.
    pub(super) types: String,
    pub(super) outcome: Option<Outcome>,
    values: Vec<Value>,
    /// It only follows an administrator's tag.
    tagged: bool,
}

/// One value of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) name: &'static str,
    pub(super) kind: ValueKind,
}

/// What a value may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    /// A name that the program or its administrator gave.
    Name,
    /// Digits.
    Number,
    /// An IP address.
    Address,
    /// What someone else chose: it may hold anything.
    Foreign,
}

impl Meaning {
    fn new(line: &'static str) -> Self {
        let mut words = line.split(' ').map(|word| if word == "-" { "" } else { word });
        let mut next = || words.next().unwrap_or_default();
        let (key, action, category, types, outcome) = (next(), next(), next(), next(), next());
        let listed = |items: &str| {
            let quoted: Vec<String> =
                items.split(',').filter(|item| !item.is_empty()).map(|item| format!("\"{item}\"")).collect();
            quoted.join(",")
        };
        Self {
            key,
            action,
            category: listed(category),
            types: listed(types),
            outcome: Outcome::from_name(outcome.as_bytes()),
            values: words.map(Value::new).collect(),
            tagged: key.starts_with("LA_")
                && !matches!(
                    key,
                    "LA_CONNECTED_1" | "LA_CONNECTED_2" | "LA_IP_DENIED" | "LA_ERROR" | "LA_OK" | "LA_RPC_START"
                ),
        }
    }
}

impl Value {
    fn new(word: &'static str) -> Self {
        let (name, kind) = match word.as_bytes().last() {
            Some(b'#') => (&word[..word.len() - 1], ValueKind::Number),
            Some(b'@') => (&word[..word.len() - 1], ValueKind::Address),
            Some(b'~') => (&word[..word.len() - 1], ValueKind::Foreign),
            _ => (word, ValueKind::Name),
        };
        Self { name, kind }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Text(&'static [u8]),
    Value(usize),
    Anything,
}

/// How one message looks in one language.
#[derive(Debug)]
struct Template {
    meaning: usize,
    parts: Vec<Part>,
    /// The part that takes what the others leave; `None` if there is only text.
    widest: Option<usize>,
}

impl Template {
    fn new(meaning: usize, values: &[Value], text: &'static str) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        let mut count = 0;
        while !rest.is_empty() {
            let (part, length) = if rest.starts_with("{}") {
                count += 1;
                (Part::Value(count - 1), 2)
            } else if rest.starts_with('…') {
                (Part::Anything, '…'.len_utf8())
            } else {
                let end = [rest.find("{}"), rest.find('…')].into_iter().flatten().min().unwrap_or(rest.len());
                (Part::Text(&rest.as_bytes()[..end]), end)
            };
            parts.push(part);
            rest = &rest[length..];
        }
        let last = |wanted: &dyn Fn(&Part) -> bool| parts.iter().rposition(wanted);
        let foreign = |part: &Part| matches!(part, Part::Value(index) if values.get(*index).is_some_and(|value| value.kind == ValueKind::Foreign));
        let widest = last(&foreign)
            .or_else(|| last(&|part| matches!(part, Part::Value(_))))
            .or_else(|| last(&|part| matches!(part, Part::Anything)));
        Self { meaning, parts, widest }
    }
}

#[derive(Debug)]
struct Language {
    messages: Vec<Template>,
    /// Which of them can begin with a byte, in the file's order.
    by_first: Vec<Vec<u16>>,
    /// What may stand before a message.
    prefixes: Vec<Template>,
}

#[derive(Debug)]
struct Catalogue {
    meanings: Vec<Meaning>,
    languages: Vec<Language>,
}

impl Catalogue {
    fn new() -> Self {
        let lines = |text: &'static str| text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let meanings: Vec<Meaning> = lines(MEANINGS).map(Meaning::new).collect();
        let languages = TEXTS.iter().map(|text| {
            let mut language = Language { messages: Vec::new(), by_first: vec![Vec::new(); 256], prefixes: Vec::new() };
            for (key, text) in lines(text).filter_map(|line| line.split_once(' ')) {
                let Some(index) = meanings.iter().position(|meaning| meaning.key == key) else { continue };
                let template = Template::new(index, &meanings[index].values, text);
                if meanings[index].action.is_empty() {
                    language.prefixes.push(template);
                    continue;
                }
                let number = language.messages.len() as u16;
                match template.parts.first() {
                    Some(Part::Text(text)) => language.by_first[usize::from(text[0])].push(number),
                    _ => language.by_first.iter_mut().for_each(|numbers| numbers.push(number)),
                }
                language.messages.push(template);
            }
            language
        });
        let languages = languages.collect();
        Self { meanings, languages }
    }
}

/// A message that was recognised.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) meaning: &'static Meaning,
    values: [&'a [u8]; MOST],
    count: usize,
    /// Someone's text in it could have ended elsewhere.
    pub(super) ambiguous: bool,
}

impl<'a> Found<'a> {
    /// The values, by name.
    pub(super) fn values(&self) -> impl Iterator<Item = (Value, &'a [u8])> + '_ {
        self.meaning.values.iter().copied().zip(self.values[..self.count].iter().copied())
    }

    /// The value of a name.
    #[cfg(test)]
    fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.values().find(|(value, _)| value.name == name).map(|(_, text)| text)
    }
}

/// Recognises a message. `language` is where the last one was found, and is tried first.
pub(super) fn find<'a>(text: &'a [u8], tagged: bool, language: &mut usize) -> Option<Found<'a>> {
    let first = *text.first()?;
    let catalogue = &*CATALOGUE;
    let others = (0..catalogue.languages.len()).filter(|index| *index != *language);
    for index in std::iter::once(*language).chain(others) {
        let Some(tables) = catalogue.languages.get(index) else { continue };
        for template in tables.by_first[usize::from(first)].iter().map(|number| &tables.messages[usize::from(*number)])
        {
            let meaning = &catalogue.meanings[template.meaning];
            if meaning.tagged == tagged
                && let Some(found) = template.read(meaning, text)
            {
                *language = index;
                return Some(found);
            }
        }
    }
    None
}

/// Takes off what stands before a message, such as `IPsec Client 3 (…): `. Answers it and the rest.
pub(super) fn prefix(text: &[u8]) -> Option<(Found<'_>, &[u8])> {
    let catalogue = &*CATALOGUE;
    catalogue.languages.iter().flat_map(|language| &language.prefixes).find_map(|template| {
        let meaning = &catalogue.meanings[template.meaning];
        let mut found = Found { meaning, values: [&[]; MOST], count: 0, ambiguous: false };
        let at = found.forwards(&template.parts, text)?;
        found.check_numbers().then(|| (found, text[at..].trim_ascii_start()))
    })
}

impl Found<'_> {
    fn check_numbers(&self) -> bool {
        self.values().all(|(value, text)| {
            value.kind != ValueKind::Number
                || (!text.is_empty() && text.len() < 20 && text.iter().all(u8::is_ascii_digit))
        })
    }
}

impl Template {
    /// Reads a whole text.
    fn read<'a>(&self, meaning: &'static Meaning, text: &'a [u8]) -> Option<Found<'a>> {
        let mut found = Found { meaning, values: [&[]; MOST], count: 0, ambiguous: false };
        let Some(widest) = self.widest else {
            return matches!(self.parts[..], [Part::Text(whole)] if whole == text).then_some(found);
        };
        // The cheapest question first: most templates fail it.
        if let Some(Part::Text(end)) = self.parts.last()
            && !text.ends_with(end)
        {
            return None;
        }
        let start = found.forwards(&self.parts[..widest], text)?;
        let end = found.backwards(&self.parts[widest + 1..], text, start)?;
        if let Part::Value(index) = self.parts[widest] {
            found.put(index, &text[start..end]);
        }
        if !found.check_numbers() {
            return None;
        }
        found.ambiguous = self.could_end_elsewhere(&found);
        Some(found)
    }

    /// Whether a foreign value holds the text that stands before or behind it.
    fn could_end_elsewhere(&self, found: &Found<'_>) -> bool {
        self.parts.iter().enumerate().any(|(at, part)| {
            let Part::Value(index) = part else { return false };
            if found.meaning.values.get(*index).is_none_or(|value| value.kind != ValueKind::Foreign) {
                return false;
            }
            let neighbours = [at.checked_sub(1), Some(at + 1)];
            neighbours.into_iter().flatten().filter_map(|near| self.parts.get(near)).any(|near| {
                matches!(near, Part::Text(text) if text.len() >= 3 && memmem::find(found.values[*index], text).is_some())
            })
        })
    }
}

impl<'a> Found<'a> {
    /// Reads parts from the left; answers where the last of them ends.
    fn forwards(&mut self, parts: &[Part], text: &'a [u8]) -> Option<usize> {
        let mut at = 0;
        let mut open: Option<Part> = None;
        for part in parts {
            let Part::Text(wanted) = part else {
                if let Some(Part::Value(index)) = open {
                    self.put(index, &text[at..at]);
                }
                open = Some(*part);
                continue;
            };
            let begins = match open {
                None => text[at..].starts_with(wanted).then_some(at)?,
                Some(Part::Value(index)) if self.is_address(index) && wanted[0] == b':' => {
                    at + address_end(&text[at..], wanted)?
                }
                Some(_) => at + memmem::find(&text[at..], wanted)?,
            };
            if let Some(Part::Value(index)) = open {
                self.put(index, &text[at..begins]);
            }
            open = None;
            at = begins + wanted.len();
        }
        if let Some(Part::Value(index)) = open {
            self.put(index, &text[at..at]);
        }
        Some(at)
    }

    /// Reads parts from the right, not beyond `start`; answers where the first of them begins.
    fn backwards(&mut self, parts: &[Part], text: &'a [u8], start: usize) -> Option<usize> {
        let mut end = text.len();
        let mut open: Option<Part> = None;
        for part in parts.iter().rev() {
            let Part::Text(wanted) = part else {
                if let Some(Part::Value(index)) = open {
                    self.put(index, &text[end..end]);
                }
                open = Some(*part);
                continue;
            };
            let room = text.get(start..end)?;
            let begins = match open {
                None => start + room.strip_suffix(*wanted)?.len(),
                Some(_) => start + memmem::rfind(room, wanted)?,
            };
            if let Some(Part::Value(index)) = open {
                self.put(index, &text[begins + wanted.len()..end]);
            }
            open = None;
            end = begins;
        }
        Some(end)
    }

    fn put(&mut self, index: usize, text: &'a [u8]) {
        if let Some(place) = self.values.get_mut(index) {
            *place = text;
            self.count = self.count.max(index + 1);
        }
    }

    fn is_address(&self, index: usize) -> bool {
        self.meaning.values.get(index).is_some_and(|value| value.kind == ValueKind::Address)
    }
}

/// Where an address ends that a port follows: at the last colon, since IPv6 has some of its own and no brackets.
fn address_end(text: &[u8], colon: &[u8]) -> Option<usize> {
    let length = text.iter().take_while(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')).count();
    memmem::rfind(&text[..length], colon)
}

#[cfg(test)]
mod tests;
