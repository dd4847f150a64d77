//! Bytes and numbers as JSON strings, without a `String` for each.

use alloy_primitives::hex;
use serde::{
    Deserializer, Serializer,
    de::{Error, Visitor},
};
use std::{fmt, marker::PhantomData};

/// Lower-case hex with `0x`.
pub(crate) fn serialize_hex<const N: usize, S: Serializer>(
    bytes: &[u8; N],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(hex::Buffer::<N, true>::new().format(bytes))
}

/// Exactly `N` bytes in hex, with one `0x`. Errors: `otherwise`.
pub(crate) fn deserialize_hex<'de, const N: usize, D: Deserializer<'de>>(
    deserializer: D,
    otherwise: &'static str,
) -> Result<[u8; N], D::Error> {
    deserialize(deserializer, |text| {
        let mut bytes = [0; N];
        let digits = digits(text)?;
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| otherwise)?;
        Ok(bytes)
    })
}

/// What follows the `0x`. A second one is refused here, because [`hex`] would skip it.
pub(crate) fn digits(text: &str) -> Result<&str, &'static str> {
    let digits = text.strip_prefix("0x").ok_or("hex must start with 0x")?;
    match digits.starts_with("0x") {
        false => Ok(digits),
        true => Err("hex must start with one 0x"),
    }
}

/// A string that `parse` understands.
pub(crate) fn deserialize<'de, T, D: Deserializer<'de>>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<T, D::Error> {
    deserializer.deserialize_str(Text(parse, PhantomData))
}

struct Text<F, T>(F, PhantomData<T>);

impl<F: FnOnce(&str) -> Result<T, &'static str>, T> Visitor<'_> for Text<F, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use crate::PaymentId;

    #[test]
    fn one_prefix_and_exactly_so_many_digits() {
        let read = |text: &str| serde_json::from_str::<PaymentId>(&format!("\"{text}\""));
        let digits = "0123456789abcdef0123456789abcdef";
        let id = read(&format!("0x{digits}")).unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"0x{digits}\""));
        assert_eq!(id, read(&format!("0x{}", digits.to_uppercase())).unwrap());
        assert_eq!(id, read(&format!("\\u0030x{digits}")).unwrap());
        for wrong in [
            digits.to_owned(),
            format!("0X{digits}"),
            format!("0x0x{digits}"),
            format!("0x0x{}", &digits[2..]),
            format!("0x{}", &digits[1..]),
            format!("0x{digits}0"),
            format!("0x{}g", &digits[1..]),
            "0x".to_owned(),
            String::new(),
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<PaymentId>("7").is_err());
    }
}
