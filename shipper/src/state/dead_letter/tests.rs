use super::*;

fn letter(n: usize) -> Letter {
    Letter {
        id: format!("id-{n}"),
        reason: "mapper_parsing_exception".into(),
        time: n as i64,
        record: format!("{{\"n\":{n}}}\n").into_bytes(),
        original: Vec::new(),
    }
}

fn log(dir: &Path) -> PathBuf {
    dir.join(FOLDER).join("archive.log")
}

fn ids(path: &Path) -> Vec<String> {
    Letters::open(path).unwrap().map(|l| l.unwrap().id).collect()
}

fn open(dir: &Path) -> DeadLetters {
    DeadLetters::open(dir, "archive", BOUND).unwrap()
}

#[test]
fn letters_survive_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut letters = open(dir.path());
    letters.append(&[letter(1), letter(2)]).unwrap();
    drop(letters);
    open(dir.path()).append(&[letter(3)]).unwrap();
    let read: Vec<Letter> = Letters::open(&log(dir.path())).unwrap().map(Result::unwrap).collect();
    assert_eq!(read, [letter(1), letter(2), letter(3)]);
    let kept = kept(dir.path()).unwrap();
    assert_eq!(kept, [Kept { lane: "archive".into(), files: vec![log(dir.path())] }]);
}

#[test]
fn a_torn_write_is_dropped_at_every_length() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).append(&[letter(1)]).unwrap();
    let whole = std::fs::read(log(dir.path())).unwrap();
    open(dir.path()).append(&[letter(2)]).unwrap();
    let longer = std::fs::read(log(dir.path())).unwrap();
    for cut in whole.len()..longer.len() {
        std::fs::write(log(dir.path()), &longer[..cut]).unwrap();
        assert_eq!(ids(&log(dir.path())), ["id-1"], "cut at {cut}");
        open(dir.path()).append(&[letter(3)]).unwrap();
        assert_eq!(ids(&log(dir.path())), ["id-1", "id-3"], "cut at {cut}");
    }
    for cut in 0..=HEADER as usize {
        std::fs::write(log(dir.path()), &longer[..cut]).unwrap();
        assert!(ids(&log(dir.path())).is_empty());
        open(dir.path()).append(&[letter(3)]).unwrap();
        assert_eq!(ids(&log(dir.path())), ["id-3"], "cut at {cut}");
    }
}

#[test]
fn damage_in_the_middle_costs_what_is_damaged_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut letters = open(dir.path());
    letters.append(&[letter(1)]).unwrap();
    let at = letters.end as usize;
    letters.append(&[letter(2)]).unwrap();
    let size = letters.end - at as u64;
    letters.append(&[letter(3)]).unwrap();
    drop(letters);
    for byte in [0, 5, 9, 20] {
        let mut bytes = std::fs::read(log(dir.path())).unwrap();
        let before = bytes.clone();
        bytes[at + byte] ^= 0x40;
        std::fs::write(log(dir.path()), &bytes).unwrap();
        let mut reader = Letters::open(&log(dir.path())).unwrap();
        let read: Vec<String> = reader.by_ref().map(|l| l.unwrap().id).collect();
        assert_eq!((read, reader.damaged()), (vec!["id-1".to_owned(), "id-3".to_owned()], size));
        // Opening for writing removes nothing that lies before a whole letter.
        drop(open(dir.path()));
        assert_eq!(std::fs::read(log(dir.path())).unwrap(), bytes);
        std::fs::write(log(dir.path()), before).unwrap();
    }
    let mut bytes = std::fs::read(log(dir.path())).unwrap();
    bytes[3] ^= 1;
    std::fs::write(log(dir.path()), &bytes).unwrap();
    assert!(matches!(DeadLetters::open(dir.path(), "archive", BOUND), Err(Error::Damaged { .. })));
}

#[test]
fn a_record_cannot_forge_a_letter() {
    let dir = tempfile::tempdir().unwrap();
    let mut letters = open(dir.path());
    letters.append(&[letter(1)]).unwrap();
    let mut forged = Vec::new();
    push_frame(&mut forged, 0, 0, &letter(666));
    letters.append(&[Letter { record: forged, ..letter(2) }, letter(3)]).unwrap();
    drop(letters);
    let mut bytes = std::fs::read(log(dir.path())).unwrap();
    let second = bytes.windows(4).rposition(|w| w == b"id-2").unwrap();
    bytes[second] ^= 1;
    std::fs::write(log(dir.path()), &bytes).unwrap();
    assert_eq!(ids(&log(dir.path())), ["id-1", "id-3"]);
}

#[test]
fn the_bound_holds_and_counts_what_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let mut letters = DeadLetters::open(dir.path(), "archive", 1000).unwrap();
    let mut count = 0;
    while letters.append(&[letter(count)]).is_ok() {
        count += 1;
    }
    assert!(matches!(letters.append(&[letter(0)]), Err(Error::Full { .. })));
    assert!(letters.end <= 1000 && !letters.has_room(0));
    request(dir.path(), "archive").unwrap();
    let retry = letters.take_retry().unwrap().unwrap();
    assert!(matches!(letters.append(&[letter(0)]), Err(Error::Full { .. })), "what is under way still counts");
    assert_eq!(retry.letters().unwrap().count(), count);
    retry.finish().unwrap();
    letters.append(&[letter(0)]).unwrap();
}

#[test]
fn a_batch_is_kept_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut letters = DeadLetters::open(dir.path(), "archive", 200).unwrap();
    let many: Vec<Letter> = (0..100).map(letter).collect();
    assert!(matches!(letters.append(&many), Err(Error::Full { .. })));
    letters.append(&many[..1]).unwrap();
    assert_eq!(ids(&log(dir.path())), ["id-0"]);
}

#[test]
fn a_retry_survives_a_crash_and_what_is_refused_again_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut letters = open(dir.path());
    assert!(letters.take_retry().unwrap().is_none());
    request(dir.path(), "archive").unwrap();
    assert!(letters.take_retry().unwrap().is_none(), "there is nothing to send");
    letters.append(&[letter(1), letter(2)]).unwrap();
    assert!(letters.take_retry().unwrap().is_none(), "the request was taken");
    request(dir.path(), "archive").unwrap();
    let retry = letters.take_retry().unwrap().unwrap();
    letters.append(&[letter(3)]).unwrap();
    drop((retry, letters));
    // A crash: nothing was answered.
    let mut letters = open(dir.path());
    let retry = letters.take_retry().unwrap().unwrap();
    let again: Vec<Letter> = retry.letters().unwrap().map(Result::unwrap).collect();
    assert_eq!(again, [letter(1), letter(2)]);
    let files = &kept(dir.path()).unwrap()[0].files;
    assert_eq!(files.iter().flat_map(|f| ids(f)).collect::<Vec<_>>(), ["id-1", "id-2", "id-3"]);
    letters.append(&again[1..]).unwrap();
    retry.finish().unwrap();
    assert!(letters.take_retry().unwrap().is_none());
    assert_eq!(ids(&log(dir.path())), ["id-3", "id-2"]);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400), salted in proptest::bool::ANY) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut content = if salted { [MAGIC.as_slice(), &[7; 8]].concat() } else { Vec::new() };
        content.extend_from_slice(&bytes);
        std::fs::write(&path, content).unwrap();
        if let Ok(letters) = Letters::open(&path) {
            for letter in letters {
                letter.unwrap();
            }
        }
    }
}
