//! Which form a store request has (PS3.18 §10.5.1).

use http::StatusCode;

use crate::media_type::MediaType;
use crate::multipart::Reader;
use crate::problem::Problem;

/// The form of a body.
#[derive(Debug)]
pub(super) enum Form {
    /// One Part 10 file a part.
    Parts(Box<Reader>),
    /// One Part 10 file.
    File,
}

/// Reads the request's `Content-Type` (WE-160, WE-162).
pub(super) fn form(content_type: Option<&str>) -> Result<Form, Problem> {
    let Some(media) = content_type.and_then(MediaType::parse) else {
        return Err(unsupported());
    };
    match media.essence.as_ref() {
        "application/dicom" => Ok(Form::File),
        "multipart/related" => {
            let part = media.parameter("type").map(|part| MediaType::parse(part).map(|part| part.essence));
            // Without a type the parts say what they are.
            if part.is_some_and(|part| part.as_deref() != Some("application/dicom")) {
                return Err(unsupported());
            }
            let reader = Reader::new(&media).map_err(|fault| Problem::bad_request(fault.to_string()))?;
            Ok(Form::Parts(Box::new(reader)))
        }
        _ => Err(unsupported()),
    }
}

fn unsupported() -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "send multipart/related; type=\"application/dicom\" with one Part 10 file a part, or one as application/dicom",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_store_request() {
        // WE-160, WE-162
        let status = |text| form(Some(text)).err().map(|problem| problem.status.as_u16());
        assert!(matches!(form(Some("application/dicom")), Ok(Form::File)));
        for text in [
            "multipart/related; type=\"application/dicom\"; boundary=x",
            "multipart/related; boundary=\"x y\"; type=application/dicom; transfer-syntax=1.2.840.10008.1.2.1",
            "Multipart/Related; boundary=x",
        ] {
            assert_eq!(status(text), None, "{text}");
        }
        assert_eq!(status("multipart/related; type=\"application/dicom\""), Some(400));
        for text in
            ["multipart/related; type=\"application/dicom+json\"; boundary=x", "multipart/form-data; boundary=x", "x"]
        {
            assert_eq!(status(text), Some(415), "{text}");
        }
        assert_eq!(form(None).unwrap_err().status, 415);
    }
}
