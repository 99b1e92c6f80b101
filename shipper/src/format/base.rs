//! Hexadecimal and base64 digits, straight into the output.

const HEX: &[u8; 16] = b"0123456789abcdef";
/// The two digits of each byte.
const PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [HEX[byte >> 4], HEX[byte & 15]];
        byte += 1;
    }
    pairs
};
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes 16 digits.
pub(super) fn hex_u64(out: &mut Vec<u8>, value: u64) {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes().map(|byte| PAIRS[usize::from(byte)]);
    let digits = [a, b, c, d, e, f, g, h];
    out.extend_from_slice(digits.as_flattened());
}

/// Writes two digits a byte.
pub(super) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.extend_from_slice(&PAIRS[usize::from(*byte)]);
    }
}

/// Writes base64 with padding.
pub(super) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = at(0) << 16 | at(1) << 8 | at(2);
        let digit = |index: usize| {
            if index > chunk.len() { b'=' } else { BASE64[(group >> (18 - 6 * index) & 63) as usize] }
        };
        out.extend_from_slice(&[digit(0), digit(1), digit(2), digit(3)]);
    }
}

/// Writes a decimal number.
pub(super) fn decimal(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Whether these are the digits of a number of at most 32 bits or so, as JSON writes it.
pub(super) fn is_decimal(digits: &[u8]) -> bool {
    matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.len() <= 10 && digits.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads() {
        for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            let mut out = Vec::new();
            base64(&mut out, text.as_bytes());
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn hex_has_fixed_width() {
        let mut out = Vec::new();
        hex_u64(&mut out, 0xab);
        assert_eq!(out, b"00000000000000ab");
    }
}
