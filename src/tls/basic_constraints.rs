//! Whether a certificate is one of a CA: as much DER as that takes.

/// Whether the basic constraints of a certificate (RFC 5280, 4.2.1.9) make it one of a CA. Neither
/// rustls nor webpki tells.
pub(super) fn is_ca(certificate: &[u8]) -> bool {
    const SEQUENCE: u8 = 0x30;
    const BOOLEAN: u8 = 0x01;
    const OCTET_STRING: u8 = 0x04;
    const EXTENSIONS: u8 = 0xa3;
    const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 0x13];

    let find = || {
        let (certificate, _) = der_element(certificate, SEQUENCE)?;
        let (mut fields, _) = der_element(certificate, SEQUENCE)?;
        while *fields.first()? != EXTENSIONS {
            fields = der_any(fields)?.2;
        }
        let (extensions, _) = der_element(fields, EXTENSIONS)?;
        let (mut extensions, _) = der_element(extensions, SEQUENCE)?;
        loop {
            let (extension, rest) = der_element(extensions, SEQUENCE)?;
            let (_, id, mut value) = der_any(extension)?;
            if id == BASIC_CONSTRAINTS {
                if let Some((_critical, rest)) = der_element(value, BOOLEAN) {
                    value = rest;
                }
                let (value, _) = der_element(value, OCTET_STRING)?;
                let (constraints, _) = der_element(value, SEQUENCE)?;
                return Some(der_element(constraints, BOOLEAN)?.0 != [0]);
            }
            extensions = rest;
        }
    };
    find().unwrap_or(false)
}

/// The content of the element that `der` begins with, if its tag is `tag`, and what follows it.
fn der_element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    der_any(der)
        .filter(|(found, ..)| *found == tag)
        .map(|(_, content, rest)| (content, rest))
}

/// Tag and content of the element that `der` begins with, and what follows it.
fn der_any(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, first, rest @ ..] = der else {
        return None;
    };
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        // The length itself takes up to three bytes; no certificate is larger.
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            let length = bytes
                .iter()
                .fold(0, |length, byte| (length << 8) | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    #[test]
    fn only_basic_constraints_make_a_ca() {
        for (constraints, expected) in [
            (IsCa::NoCa, false),
            (IsCa::ExplicitNoCa, false),
            (IsCa::Ca(BasicConstraints::Unconstrained), true),
            (IsCa::Ca(BasicConstraints::Constrained(0)), true),
        ] {
            let mut params = CertificateParams::new(vec!["plex.example".to_owned()]).unwrap();
            params.is_ca = constraints;
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(is_ca(certificate.der()), expected);
            // No prefix of it makes the reader panic, or believe anything.
            for end in 0..certificate.der().len() {
                assert!(!is_ca(&certificate.der()[..end]));
            }
        }
    }
}
