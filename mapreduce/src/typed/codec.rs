//! Keys and values as bytes, and back.
//!
//! Pairs travel as bytes and are sorted as bytes, so a key's bytes are in the order of the keys. The encodings are part of
//! a result (they decide which partition a key goes to), so they stay as they are.

use mr_core::Failure;

/// Something that travels: its bytes give it back.
pub trait Value: Sized + Send {
    fn encode(&self, to: &mut Vec<u8>);

    /// Takes its bytes from the front.
    ///
    /// # Errors
    /// When they are none of its kind.
    fn decode(from: &mut &[u8]) -> Result<Self, Failure>;
}

/// Something to group by. `Borrowed` is what it is emitted as, so that a `String` is emitted from a `&str`.
pub trait Key: Sized + Send {
    type Borrowed<'a>;

    /// Bytes that compare as the keys do.
    fn encode(key: Self::Borrowed<'_>, to: &mut Vec<u8>);

    /// The same bytes where the key has them already, which saves copying them.
    fn bytes<'a>(_key: &Self::Borrowed<'a>) -> Option<&'a [u8]> {
        None
    }

    /// Takes its bytes from the front.
    ///
    /// # Errors
    /// When they are none of its kind.
    fn decode(from: &mut &[u8]) -> Result<Self, Failure>;
}

/// The whole of some bytes.
///
/// # Errors
/// When they are no such value, or more.
pub fn value<V: Value>(bytes: &[u8]) -> Result<V, Failure> {
    let mut rest = bytes;
    let value = V::decode(&mut rest)?;
    if rest.is_empty() { Ok(value) } else { Err(misfit()) }
}

/// The whole of some bytes.
///
/// # Errors
/// When they are no such key, or more.
pub fn key<K: Key>(bytes: &[u8]) -> Result<K, Failure> {
    let mut rest = bytes;
    let key = K::decode(&mut rest)?;
    if rest.is_empty() { Ok(key) } else { Err(misfit()) }
}

/// They were written by the same code of the same version, and held against a checksum on the way.
fn misfit() -> Failure {
    Failure::permanent(
        "bytes that the job emitted are not of the type it reads: was its code changed without its version?",
    )
}

fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], Failure> {
    let (bytes, rest) = from.split_first_chunk().ok_or_else(misfit)?;
    *from = rest;
    Ok(*bytes)
}

fn text(bytes: &[u8]) -> Result<String, Failure> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| misfit())
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Value for $number {
            fn encode(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }

            fn decode(from: &mut &[u8]) -> Result<Self, Failure> {
                take(from).map(Self::from_le_bytes)
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, i8, i16, i32, i64, f32, f64);

impl Value for () {
    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(_: &mut &[u8]) -> Result<Self, Failure> {
        Ok(())
    }
}

impl Value for bool {
    fn encode(&self, to: &mut Vec<u8>) {
        to.push((*self).into());
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Failure> {
        match take(from)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(misfit()),
        }
    }
}

/// With their number in front.
impl<V: Value> Value for Vec<V> {
    fn encode(&self, to: &mut Vec<u8>) {
        Value::encode(&(self.len() as u64), to);
        self.iter().for_each(|value| value.encode(to));
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Failure> {
        // No room is made for a number that is only said.
        (0..<u64 as Value>::decode(from)?).map(|_| V::decode(from)).collect()
    }
}

/// Its bytes, with their number in front.
impl Value for String {
    fn encode(&self, to: &mut Vec<u8>) {
        Value::encode(&(self.len() as u64), to);
        to.extend_from_slice(self.as_bytes());
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Failure> {
        let length = usize::try_from(<u64 as Value>::decode(from)?).ok().filter(|&length| length <= from.len());
        let (bytes, rest) = from.split_at(length.ok_or_else(misfit)?);
        *from = rest;
        text(bytes)
    }
}

impl<V: Value> Value for Option<V> {
    fn encode(&self, to: &mut Vec<u8>) {
        self.is_some().encode(to);
        if let Some(value) = self {
            value.encode(to);
        }
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Failure> {
        bool::decode(from)?.then(|| V::decode(from)).transpose()
    }
}

macro_rules! unsigned_keys {
    ($($number:ty),*) => {$(
        impl Key for $number {
            type Borrowed<'a> = Self;

            fn encode(key: Self, to: &mut Vec<u8>) {
                to.extend_from_slice(&key.to_be_bytes());
            }

            fn decode(from: &mut &[u8]) -> Result<Self, Failure> {
                take(from).map(Self::from_be_bytes)
            }
        }
    )*};
}

unsigned_keys!(u8, u16, u32, u64);

macro_rules! signed_keys {
    ($($number:ty as $unsigned:ty),*) => {$(
        /// With the sign turned over, so that negative numbers come first.
        impl Key for $number {
            type Borrowed<'a> = Self;

            fn encode(key: Self, to: &mut Vec<u8>) {
                to.extend_from_slice(&(key as $unsigned ^ (1 << (<$unsigned>::BITS - 1))).to_be_bytes());
            }

            fn decode(from: &mut &[u8]) -> Result<Self, Failure> {
                take(from).map(|bytes| (<$unsigned>::from_be_bytes(bytes) ^ (1 << (<$unsigned>::BITS - 1))) as Self)
            }
        }
    )*};
}

signed_keys!(i8 as u8, i16 as u16, i32 as u32, i64 as u64);

impl Key for () {
    type Borrowed<'a> = ();

    fn encode(_: (), _: &mut Vec<u8>) {}

    fn decode(_: &mut &[u8]) -> Result<Self, Failure> {
        Ok(())
    }
}

/// As it is: a key that is one text is compared and read without a change.
impl Key for String {
    type Borrowed<'a> = &'a str;

    fn encode(key: &str, to: &mut Vec<u8>) {
        to.extend_from_slice(key.as_bytes());
    }

    fn bytes<'a>(key: &Self::Borrowed<'a>) -> Option<&'a [u8]> {
        Some(key.as_bytes())
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Failure> {
        text(std::mem::take(from))
    }
}

/// As it is.
impl Key for Vec<u8> {
    type Borrowed<'a> = &'a [u8];

    fn encode(key: &[u8], to: &mut Vec<u8>) {
        to.extend_from_slice(key);
    }

    fn bytes<'a>(key: &Self::Borrowed<'a>) -> Option<&'a [u8]> {
        Some(key)
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Failure> {
        Ok(std::mem::take(from).to_vec())
    }
}

macro_rules! tuples {
    ($($name:ident $at:tt),*) => {
        impl<$($name: Value),*> Value for ($($name,)*) {
            fn encode(&self, to: &mut Vec<u8>) {
                $(self.$at.encode(to);)*
            }

            fn decode(from: &mut &[u8]) -> Result<Self, Failure> {
                Ok(($($name::decode(from)?,)*))
            }
        }

        impl<$($name: Part),*> Key for ($($name,)*) {
            type Borrowed<'a> = ($($name::Borrowed<'a>,)*);

            fn encode(key: Self::Borrowed<'_>, to: &mut Vec<u8>) {
                $($name::encode_part(key.$at, to);)*
            }

            fn decode(from: &mut &[u8]) -> Result<Self, Failure> {
                Ok(($($name::decode_part(from)?,)*))
            }
        }
    };
}

tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);

/// A key within a tuple: its bytes say where they end, and compare as they do alone.
pub trait Part: Key {
    fn encode_part(key: Self::Borrowed<'_>, to: &mut Vec<u8>);

    /// # Errors
    /// When the bytes are none of its kind.
    fn decode_part(from: &mut &[u8]) -> Result<Self, Failure>;
}

macro_rules! fixed_parts {
    ($($number:ty),*) => {$(
        impl Part for $number {
            fn encode_part(key: Self, to: &mut Vec<u8>) {
                <Self as Key>::encode(key, to);
            }

            fn decode_part(from: &mut &[u8]) -> Result<Self, Failure> {
                Key::decode(from)
            }
        }
    )*};
}

fixed_parts!(u8, u16, u32, u64, i8, i16, i32, i64);

/// A zero byte becomes two bytes that come after the two that end it.
impl Part for Vec<u8> {
    fn encode_part(key: &[u8], to: &mut Vec<u8>) {
        escape(key, to);
    }

    fn decode_part(from: &mut &[u8]) -> Result<Self, Failure> {
        unescape(from)
    }
}

impl Part for String {
    fn encode_part(key: &str, to: &mut Vec<u8>) {
        escape(key.as_bytes(), to);
    }

    fn decode_part(from: &mut &[u8]) -> Result<Self, Failure> {
        String::from_utf8(unescape(from)?).map_err(|_| misfit())
    }
}

const ZERO: u8 = 0;
const END: u8 = 0;
const ESCAPED: u8 = 1;

fn escape(bytes: &[u8], to: &mut Vec<u8>) {
    for &byte in bytes {
        to.push(byte);
        if byte == ZERO {
            to.push(ESCAPED);
        }
    }
    to.extend_from_slice(&[ZERO, END]);
}

fn unescape(from: &mut &[u8]) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    loop {
        match take(from)? {
            [ZERO] => match take(from)? {
                [END] => return Ok(bytes),
                [ESCAPED] => bytes.push(ZERO),
                _ => return Err(misfit()),
            },
            [byte] => bytes.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Debug;

    fn value_bytes<V: Value>(value: &V) -> Vec<u8> {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        bytes
    }

    fn key_bytes<K: Key>(key: K::Borrowed<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let had = K::bytes(&key).map(<[u8]>::to_vec);
        K::encode(key, &mut bytes);
        assert!(had.is_none_or(|had| had == bytes));
        bytes
    }

    /// Bytes that compare otherwise than the keys, or don't give them back, are wrong.
    fn compare<'a, K: Key + Ord + Debug>(a: &K, b: &K, [x, y]: [K::Borrowed<'a>; 2]) {
        let (x, y) = (key_bytes::<K>(x), key_bytes::<K>(y));
        assert_eq!(x.cmp(&y), a.cmp(b), "{a:?} and {b:?} are {x:?} and {y:?}");
        assert_eq!(&key::<K>(&x).unwrap(), a);
    }

    proptest! {
        #[test]
        fn bytes_of_keys_compare_as_the_keys_do(
            numbers in any::<[(u64, i64, i8); 2]>(),
            texts in any::<[(String, String); 2]>(),
            bytes in prop::array::uniform2((prop::collection::vec(0u8..3, 0..5), prop::collection::vec(0u8..3, 0..5))),
        ) {
            let [a, b] = numbers;
            compare(&a.0, &b.0, [a.0, b.0]);
            compare(&a.1, &b.1, [a.1, b.1]);
            compare(&a.2, &b.2, [a.2, b.2]);
            compare(&(a.2, a.0), &(b.2, b.0), [(a.2, a.0), (b.2, b.0)]);
            let [a, b] = texts;
            let own = |(x, y): &(String, String), n: u8| (x.clone(), y.clone(), n);
            compare(&own(&a, 1), &own(&b, 0), [(&a.0, &a.1, 1), (&b.0, &b.1, 0)]);
            compare(&a.0, &b.0, [&a.0, &b.0]);
            let [a, b] = bytes;
            compare(&a, &b, [(&a.0, &a.1), (&b.0, &b.1)]);
            compare(&a.0, &b.0, [&a.0, &b.0]);
        }

        #[test]
        fn values_come_back(
            value in any::<(u64, Option<String>, (bool, i32), Vec<(u8, String)>)>(),
            number in any::<f64>(),
        ) {
            let bytes = value_bytes(&value);
            assert_eq!(super::value::<(u64, Option<String>, (bool, i32), Vec<(u8, String)>)>(&bytes).unwrap(), value);
            assert_eq!(super::value::<f64>(&value_bytes(&number)).unwrap().to_bits(), number.to_bits());
            // Neither more nor less.
            for length in 0..bytes.len() {
                assert!(super::value::<(u64, Option<String>, (bool, i32), Vec<(u8, String)>)>(&bytes[..length]).is_err());
            }
            let more = [&bytes[..], &[0]].concat();
            assert!(super::value::<(u64, Option<String>, (bool, i32), Vec<(u8, String)>)>(&more).is_err());
        }

        #[test]
        fn any_bytes_are_a_key_or_an_error(bytes in prop::collection::vec(0u8..4, 0..12)) {
            if let Ok(found) = key::<(Vec<u8>, u8, String)>(&bytes) {
                assert_eq!(key_bytes::<(Vec<u8>, u8, String)>((&found.0, found.1, &found.2)), bytes);
            }
        }
    }

    #[test]
    fn encodings_are_pinned() {
        assert_eq!(key_bytes::<i32>(-2), [0x7f, 0xff, 0xff, 0xfe]);
        assert_eq!(key_bytes::<String>("é"), [0xc3, 0xa9]);
        assert_eq!(key_bytes::<(String, u16)>(("a\0", 258)), [b'a', 0, 1, 0, 0, 1, 2]);
        assert_eq!(value_bytes(&Some("a".to_owned())), [1, 1, 0, 0, 0, 0, 0, 0, 0, b'a']);
        assert_eq!(value_bytes(&(1.5f32, true)), [0, 0, 0xc0, 0x3f, 1]);
    }
}
