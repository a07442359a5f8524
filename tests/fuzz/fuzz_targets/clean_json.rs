//! The repair of JSON: any bytes become UTF-8, in the same way however they arrive; a second pass
//! changes nothing; what was valid JSON still says the same.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use plex_exporter::internals::CleanJson;

/// Reads as a socket does: a few bytes at a time.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.1.min(buffer.len()).min(self.0.len());
        let (piece, rest) = self.0.split_at(length);
        buffer[..length].copy_from_slice(piece);
        self.0 = rest;
        Ok(length)
    }
}

fn clean(bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut text = Vec::new();
    CleanJson::new(Pieces(bytes, piece))
        .read_to_end(&mut text)
        .expect("no errors from memory");
    assert!(std::str::from_utf8(&text).is_ok(), "not UTF-8");
    text
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = (usize::from(input.0) + 1, input.1);
    let whole = clean(bytes, usize::MAX);
    assert_eq!(whole, clean(bytes, piece), "pieces of {piece} bytes");
    assert_eq!(whole, clean(&whole, usize::MAX), "not settled");
    if let Ok(before) = serde_json::from_slice::<serde_json::Value>(bytes) {
        let after: serde_json::Value = serde_json::from_slice(&whole).expect("still JSON");
        assert!(same(&before, &after), "{before} became {after}");
    }
});

/// Numbers beyond reason become null.
fn same(before: &serde_json::Value, after: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (before, after) {
        (Value::Number(_), Value::Null) => true,
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same(one, two))
        }
        (Value::Object(one), Value::Object(two)) => {
            one.len() == two.len()
                && one
                    .iter()
                    .all(|(key, one)| two.get(key).is_some_and(|two| same(one, two)))
        }
        (one, two) => one == two,
    }
}
