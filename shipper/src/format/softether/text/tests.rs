use super::*;

/// A text with a value in each place.
fn filled(template: &Template, values: &[Value], foreign: &str) -> String {
    let mut text = String::new();
    for part in &template.parts {
        match part {
            Part::Text(piece) => text.push_str(std::str::from_utf8(piece).unwrap()),
            Part::Anything => text.push_str(" … "),
            Part::Value(index) => text.push_str(&example(values[*index], foreign)),
        }
    }
    text
}

fn example(value: Value, foreign: &str) -> String {
    match value.kind {
        ValueKind::Number => "47".to_owned(),
        ValueKind::Address => "2001:db8::7".to_owned(),
        ValueKind::Name => format!("a-{}", value.name),
        ValueKind::Foreign => format!("{foreign}{}", value.name),
    }
}

#[test]
fn every_message_has_a_meaning_and_as_many_values() {
    for (text, language) in TEXTS.iter().zip(&CATALOGUE.languages) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (key, _) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(CATALOGUE.meanings.iter().any(|meaning| meaning.key == key), "{line}");
        }
        for template in language.messages.iter().chain(&language.prefixes) {
            let meaning = &CATALOGUE.meanings[template.meaning];
            let count = template.parts.iter().filter(|part| matches!(part, Part::Value(_))).count();
            assert!(count <= meaning.values.len(), "{}", meaning.key);
            assert!(count <= MOST);
        }
    }
    for meaning in &CATALOGUE.meanings {
        let told = CATALOGUE.languages.iter().flat_map(|language| language.messages.iter().chain(&language.prefixes));
        assert!(
            told.into_iter().any(|template| CATALOGUE.meanings[template.meaning].key == meaning.key),
            "{}",
            meaning.key
        );
        let mut names: Vec<&str> = meaning.values.iter().map(|value| value.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), meaning.values.len(), "{}", meaning.key);
    }
}

#[test]
fn every_message_is_told_from_all_others() {
    for (index, language) in CATALOGUE.languages.iter().enumerate() {
        for template in &language.messages {
            let meaning = &CATALOGUE.meanings[template.meaning];
            let text = filled(template, &meaning.values, "any ");
            for mut start in 0..CATALOGUE.languages.len() {
                let found = find(text.as_bytes(), meaning.tagged, &mut start);
                let found = found.unwrap_or_else(|| panic!("{index}: {text}"));
                assert_eq!(found.meaning.key, meaning.key, "{index}: {text}");
                for (value, text) in found.values() {
                    assert_eq!(
                        String::from_utf8_lossy(text),
                        example(value, "any "),
                        "{}: {}",
                        meaning.key,
                        value.name
                    );
                }
            }
        }
    }
}

#[test]
fn addresses_end_before_their_port() {
    let (found, rest) =
        prefix(b"IPsec Client 7 (2001:db8::1:500 -> 198.51.100.2:4500): A new IPsec client is created.").unwrap();
    assert_eq!(found.get("source").unwrap(), b"2001:db8::1");
    assert_eq!(
        (found.get("source_port").unwrap(), found.get("destination_port").unwrap()),
        (&b"500"[..], &b"4500"[..])
    );
    assert_eq!(rest, b"A new IPsec client is created.");
    assert!(prefix(b"Connection \"CID-1\" has been terminated.").is_none());
}
