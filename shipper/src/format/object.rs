//! Writes the members of one JSON object.

use super::escape;

/// An object that is being written. It closes itself.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    /// Begins `"name":{`. The name and every key must be plain.
    fn member(out: &'o mut Vec<u8>, name: &str) -> Self {
        key(out, name);
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Begins `,"name":{`, behind another member.
    pub(super) fn member_after(out: &'o mut Vec<u8>, name: &str) -> Self {
        out.push(b',');
        Self::member(out, name)
    }

    /// Goes on with the object that was written last; begins none if there is no such object.
    pub(super) fn again(out: &'o mut Vec<u8>) -> Self {
        debug_assert_eq!(out.last(), Some(&b'}'), "an object was written last");
        out.pop();
        let empty = out.last() == Some(&b'{');
        Self { out, empty }
    }

    /// Writes a foreign key.
    pub(super) fn escaped_key(&mut self, name: &[u8]) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        string(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// Writes a key and hands out the place of its value.
    pub(super) fn value(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        key(self.out, name);
        self.out
    }

    /// Begins an object inside of this one.
    pub(super) fn object(&mut self, name: &str) -> Object<'_> {
        let out = self.value(name);
        out.push(b'{');
        Object { out, empty: true }
    }

    /// Whether nothing has been written yet.
    pub(super) fn is_empty(&self) -> bool {
        self.empty
    }

    /// Hands out the place of further members to someone who separates them himself.
    pub(super) fn rest(&mut self) -> &mut Vec<u8> {
        self.empty = false;
        self.out
    }

    pub(super) fn text(&mut self, name: &str, text: &[u8]) {
        string(self.value(name), text);
    }

    pub(super) fn flag(&mut self, name: &str) {
        self.value(name).extend_from_slice(b"true");
    }

    pub(super) fn texts<'t>(&mut self, name: &str, texts: impl Iterator<Item = &'t [u8]>) {
        let out = self.value(name);
        list(out, texts);
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        self.out.push(b'}');
    }
}

/// Writes a list of strings.
pub(super) fn list<'t>(out: &mut Vec<u8>, texts: impl Iterator<Item = &'t [u8]>) {
    out.push(b'[');
    for (index, text) in texts.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        string(out, text);
    }
    out.push(b']');
}

/// Writes any bytes as a JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    escape::text(out, text);
    out.push(b'"');
}

/// Writes `"name":`.
pub(super) fn key(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}
