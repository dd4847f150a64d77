//! Which key of a device: the path from its seed (BIP 32).

use std::{fmt, str::FromStr};

/// Most steps of a path that devices take.
const STEPS_MAX: usize = 10;
/// Numbers of steps lie below; a hardened step has this bit set beside.
const STEP_MAX: u32 = 1 << 31;

/// A valid path: `m/44'/60'/0'/0/0`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HdPath(String);

impl FromStr for HdPath {
    type Err = String;

    /// The number of an account, or the whole path. `h` may stand for `'`.
    fn from_str(text: &str) -> Result<Self, String> {
        let path = match text.parse::<u32>() {
            Ok(account) => format!("m/44'/60'/{account}'/0/0"),
            Err(_) => text.replace('h', "'"),
        };
        let steps = path.strip_prefix("m/").unwrap_or_default().split('/');
        match steps.clone().count() <= STEPS_MAX && steps.into_iter().all(is_step) {
            true => Ok(Self(path)),
            false => Err("expected the number of an account, or a path as m/44'/60'/0'/0/0".to_owned()),
        }
    }
}

fn is_step(step: &str) -> bool {
    let digits = step.strip_suffix('\'').unwrap_or(step);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain && digits.parse().is_ok_and(|number: u32| number < STEP_MAX)
}

impl fmt::Display for HdPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_or_a_whole_path_and_nothing_that_a_device_would_read_otherwise() {
        let parsed = |text: &str| text.parse::<HdPath>().map(|path| path.to_string()).ok();
        assert_eq!(parsed("0").unwrap(), "m/44'/60'/0'/0/0");
        assert_eq!(parsed("7").unwrap(), "m/44'/60'/7'/0/0");
        assert_eq!(parsed("m/44h/60h/0h/3").unwrap(), "m/44'/60'/0'/3");
        assert_eq!(parsed("m/2147483647'").unwrap(), "m/2147483647'");
        for wrong in [
            "",
            "m",
            "m/",
            "44'/60'",
            "m/44''",
            "m/4'4",
            "m/2147483648",
            "m/-1",
            "m/+1",
            "m/1//2",
            "2147483648",
            "-1",
            "m/1/1/1/1/1/1/1/1/1/1/1",
            "M/1",
            "m/0x1",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
