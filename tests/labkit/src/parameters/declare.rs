//! The macro that declares parameters.

/// Declares a struct of parameters with its table, a
/// [`ParameterSet`](crate::parameters::ParameterSet).
///
/// Each field has its meaning as doc comment, a type
/// ([`ParameterValue`](crate::parameters::ParameterValue)), a default, and after `in`, if it does not
/// take every value of the type, its [`Limits`](crate::parameters::Limits).
///
/// ```
/// labkit::parameters! {
///     /// What the example can be told.
///     pub struct Parameters {
///         /// How often it does it.
///         count: u32 = 5, in 1..=100;
///         /// Whether it says so.
///         loud: bool = false;
///     }
/// }
///
/// use labkit::parameters::ParameterSet;
/// let given = serde_json::json!({"count": 7});
/// let read = Parameters::read(given.as_object().unwrap()).unwrap();
/// assert_eq!((read.count, read.loud), (7, false));
/// ```
#[macro_export]
macro_rules! parameters {
    (@limits) => { $crate::parameters::Any };
    (@limits $limits:expr) => { $limits };
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $set:ident {
            $(
                $(#[doc = $meaning:literal])+
                $name:ident: $kind:ty = $default:expr $(, in $limits:expr)?;
            )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug)]
        $visibility struct $set {
            $(
                $(#[doc = $meaning])+
                pub $name: $kind,
            )*
        }

        impl ::core::default::Default for $set {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl $crate::parameters::ParameterSet for $set {
            fn known() -> ::std::vec::Vec<$crate::parameters::Parameter> {
                ::std::vec![$({
                    let default: $kind = $default;
                    let limits = $crate::parameters!(@limits $($limits)?);
                    $crate::parameters::Parameter {
                        name: ::core::stringify!($name),
                        takes: $crate::parameters::takes::<$kind>(&limits),
                        default: $crate::parameters::ParameterValue::show(&default),
                        meaning: ::core::concat!($($meaning),+).trim().to_owned(),
                        names: $crate::parameters::Limits::<$kind>::names(&limits),
                    }
                }),*]
            }

            fn read(
                given: &$crate::serde_json::Map<::std::string::String, $crate::serde_json::Value>,
            ) -> $crate::anyhow::Result<Self> {
                let mut set = Self::default();
                for (name, value) in given {
                    match name.as_str() {
                        $(::core::stringify!($name) => {
                            set.$name = $crate::parameters::read_one(
                                name,
                                value,
                                &$crate::parameters!(@limits $($limits)?),
                                &Self::known(),
                            )?;
                        })*
                        _ => return $crate::parameters::unknown(name, &Self::known()),
                    }
                }
                Ok(set)
            }
        }
    };
}
