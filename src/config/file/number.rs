//! Booleans and numbers.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize};
use std::ops::{RangeInclusive, RangeToInclusive};

use toml::de::DeValue;

use super::keys::Shape;
use super::read::{Raw, Read, Reader, Written};
use crate::config::error::Problem;

const INTEGER: &str = "an integer";
const INTEGER_HINT: &str = "integers stand without quotes";

/// The word for a quota that never runs out.
const UNLIMITED: &str = "unlimited";

impl Read for bool {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        match raw.value {
            DeValue::Boolean(value) => Some(*value),
            _ => reader.refuse_type(raw, "true or false", None),
        }
    }

    fn shape((): &()) -> Shape {
        Shape::Boolean
    }
}

impl Read for u16 {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        integer(raw, 0..=Self::MAX.into(), reader)?.try_into().ok()
    }

    fn shape((): &()) -> Shape {
        Shape::Integer { min: 0, max: Self::MAX.into() }
    }
}

impl Read for NonZeroU16 {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        count(raw, u16::MAX.into(), reader)
    }

    fn shape((): &()) -> Shape {
        Shape::Integer { min: 1, max: u16::MAX.into() }
    }
}

impl Read for NonZeroU32 {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        count(raw, u32::MAX.into(), reader)
    }

    fn shape((): &()) -> Shape {
        Shape::Integer { min: 1, max: u32::MAX.into() }
    }
}

impl Read<RangeToInclusive<u32>> for NonZeroUsize {
    fn read(raw: Raw<'_>, bounds: &RangeToInclusive<u32>, reader: &mut Reader<'_>) -> Option<Self> {
        count(raw, bounds.end.into(), reader)
    }

    fn shape(bounds: &RangeToInclusive<u32>) -> Shape {
        Shape::Integer { min: 1, max: bounds.end.into() }
    }
}

/// A number from 1 on, or `"unlimited"`.
impl Read for Option<NonZeroU32> {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        match raw.value {
            DeValue::Integer(_) => match count_within(raw, u32::MAX.into()) {
                Some(count) => Some(Some(count)),
                None => reader.refuse_range(raw, &format!("a number from 1 to {}, or \"{UNLIMITED}\"", u32::MAX)),
            },
            DeValue::String(word) if word == UNLIMITED => Some(None),
            _ => reader.refuse_type(raw, &format!("{INTEGER} or \"{UNLIMITED}\""), None),
        }
    }

    fn shape((): &()) -> Shape {
        Shape::Either(Box::new([NonZeroU32::shape(&()), Shape::Word(vec![UNLIMITED])]))
    }
}

/// The integer, if it is within `range`.
fn within(raw: Raw<'_>, range: RangeInclusive<u64>) -> Option<u64> {
    let DeValue::Integer(integer) = raw.value else { return None };
    let number = u64::try_from(i128::from_str_radix(integer.as_str(), integer.radix()).ok()?).ok()?;
    range.contains(&number).then_some(number)
}

/// The number, if it is from 1 to `max`, which fits a `T`.
fn count_within<T: TryFrom<NonZeroU64>>(raw: Raw<'_>, max: u64) -> Option<T> {
    NonZeroU64::new(within(raw, 1..=max)?)?.try_into().ok()
}

/// A number from 1 to `max`, which fits a `T`.
fn count<T: TryFrom<NonZeroU64>>(raw: Raw<'_>, max: u64, reader: &mut Reader<'_>) -> Option<T> {
    integer(raw, 1..=max, reader)?;
    count_within(raw, max)
}

fn integer(raw: Raw<'_>, range: RangeInclusive<u64>, reader: &mut Reader<'_>) -> Option<u64> {
    let DeValue::Integer(_) = raw.value else { return reader.refuse_type(raw, INTEGER, Some(INTEGER_HINT)) };
    let (min, max) = (*range.start(), *range.end());
    within(raw, range).or_else(|| reader.refuse_range(raw, &format!("a number from {min} to {max}")))
}

/// A part of the whole, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share(pub(crate) f64);

impl Read for Share {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        let share = number(raw, reader)?;
        if (0.0..=1.0).contains(&share) {
            return Some(Self(share));
        }
        reader.refuse_range(raw, "a share from 0 to 1: 0.5 is half of the pool")
    }

    fn shape((): &()) -> Shape {
        Shape::Number { min: 0.0, max: Some(1.0) }
    }
}

/// A multiple of the fair share, at least 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Multiple(pub(crate) f64);

impl Read for Multiple {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        let multiple = number(raw, reader)?;
        if multiple.is_finite() && multiple >= 1.0 {
            return Some(Self(multiple));
        }
        let help = "it is a multiple of the fair share: 1.25 lets a backend have a quarter more";
        let message = format!("`{}` must be at least 1", raw.key);
        reader.problems.report(Problem::new(raw.place, message).help(help));
        None
    }

    fn shape((): &()) -> Shape {
        Shape::Number { min: 1.0, max: None }
    }
}

/// A number with or without a point.
fn number(raw: Raw<'_>, reader: &mut Reader<'_>) -> Option<f64> {
    match raw.value {
        DeValue::Float(float) => float.as_str().parse().ok(),
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
        _ => None,
    }
    .or_else(|| reader.refuse_type(raw, "a number", None))
}

/// Those that are written as they are shown.
macro_rules! written_as_shown {
    ($($value:ty),*) => {$(
        impl Written for $value {
            fn written(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

written_as_shown!(bool, u16, NonZeroU16, NonZeroU32);

impl Written for Share {
    fn written(&self) -> String {
        self.0.to_string()
    }
}

impl Written for Option<NonZeroU32> {
    fn written(&self) -> String {
        match self {
            None => format!("\"{UNLIMITED}\""),
            Some(count) => count.to_string(),
        }
    }
}
