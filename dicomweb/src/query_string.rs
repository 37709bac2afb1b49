//! Query strings as name and value pairs (PS3.18 §8.3).

use percent_encoding::percent_decode_str;

use crate::problem::Problem;

/// Most parameters of one request.
const PARAMETERS_MAX: usize = 512;

/// Reads a query string: percent-decoded UTF-8, `+` stays a plus (WE-021), empty names are dropped.
pub(crate) fn parse(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).take(PARAMETERS_MAX + 1).collect();
    if pairs.len() > PARAMETERS_MAX {
        return Err(Problem::bad_request(format!("send at most {PARAMETERS_MAX} query parameters")));
    }
    let mut parameters = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !name.is_empty() {
            parameters.push((decode(name)?, decode(value)?));
        }
    }
    Ok(parameters)
}

fn decode(text: &str) -> Result<String, Problem> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| {
        Problem::bad_request("the query string is not UTF-8: percent-encode the UTF-8 bytes of each character")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: &[(&str, &str)]) {
        let got = parse(query).unwrap();
        let got: Vec<_> = got.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(got, expected, "{query}");
    }

    #[test]
    fn percent_encoding_is_undone_and_plus_is_kept() {
        // WE-021, OHIF 2.2.4
        check("PatientName=TCG%2A", &[("PatientName", "TCG*")]);
        check("a=1%2C2&b=%E7%8E%8B", &[("a", "1,2"), ("b", "王")]);
        check("t=20240101+0100", &[("t", "20240101+0100")]);
        check("&&x&=y&z=1=2", &[("x", ""), ("z", "1=2")]);
    }

    #[test]
    fn what_is_not_utf8_or_too_much_is_refused() {
        assert!(parse("a=%FF").is_err());
        assert!(parse(&"a=1&".repeat(513)).is_err());
    }
}
