//! The types of parameters.

use serde_json::Value;

use crate::mode::Mode;

/// A type that a parameter can have.
pub trait ParameterValue: Sized {
    /// Says what it takes, with an article.
    fn takes() -> String;

    /// Reads a value; returns `None` if it has another type.
    fn read(value: &Value) -> Option<Self>;

    /// Formats a value as a user would give it.
    fn show(&self) -> String;
}

macro_rules! whole_numbers {
    ($($number:ty),+) => {$(
        impl ParameterValue for $number {
            fn takes() -> String {
                "a whole number".to_owned()
            }

            fn read(value: &Value) -> Option<Self> {
                value.as_u64()?.try_into().ok()
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

whole_numbers!(u32, u64, usize);

impl ParameterValue for bool {
    fn takes() -> String {
        "true or false".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl ParameterValue for String {
    fn takes() -> String {
        "a text".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl ParameterValue for Mode {
    fn takes() -> String {
        Self::ALL.map(Self::name).join(" or ")
    }

    fn read(value: &Value) -> Option<Self> {
        let name = value.as_str()?;
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    fn show(&self) -> String {
        self.name().to_owned()
    }
}

impl<T: ParameterValue> ParameterValue for Option<T> {
    fn takes() -> String {
        T::takes()
    }

    fn read(value: &Value) -> Option<Self> {
        T::read(value).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map_or("none".to_owned(), T::show)
    }
}

/// A list, as JSON or as words separated by commas.
impl<T: ParameterValue> ParameterValue for Vec<T> {
    fn takes() -> String {
        format!("a list, each {}", T::takes())
    }

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Array(values) => values.iter().map(T::read).collect(),
            Value::String(words) => words.split(',').map(|word| T::read(&word.into())).collect(),
            _ => None,
        }
    }

    fn show(&self) -> String {
        let shown: Vec<String> = self.iter().map(T::show).collect();
        format!("[{}]", shown.join(","))
    }
}
