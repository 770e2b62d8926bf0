//! Errors of rustls by the reasons that OpenSSL has for them (`SSL_R_…`), which logs and `ssl_fc_err` speak of.

use rustls::{Error, InvalidMessage, PeerIncompatible, PeerMisbehaved, ProtocolVersion};

// Numbers of OpenSSL.
const NO_SUITABLE_KEY_SHARE: u16 = 101;
const INCONSISTENT_EXTMS: u16 = 104;
const BAD_KEY_SHARE: u16 = 108;
const BAD_EXTENSION: u16 = 110;
const CERTIFICATE_VERIFY_FAILED: u16 = 134;
const DATA_LENGTH_TOO_LONG: u16 = 146;
const LENGTH_MISMATCH: u16 = 159;
const NO_COMPRESSION_SPECIFIED: u16 = 187;
const NO_SHARED_CIPHER: u16 = 193;
const PEER_DID_NOT_RETURN_A_CERTIFICATE: u16 = 199;
const CALLBACK_FAILED: u16 = 234;
const NO_APPLICATION_PROTOCOL: u16 = 235;
const UNEXPECTED_MESSAGE: u16 = 244;
const UNSUPPORTED_PROTOCOL: u16 = 258;
const WRONG_VERSION_NUMBER: u16 = 267;
const BAD_RECORD: u16 = 281;
const NO_SHARED_SIGNATURE_ALGORITHMS: u16 = 376;
/// Alerts that the peer sent stand behind this, by their number.
const ALERTS: u16 = 1000;

/// The reason that OpenSSL would give. `version`: what was agreed on before the error, if anything was.
#[must_use]
pub fn openssl_reason(error: &Error, version: Option<ProtocolVersion>) -> u16 {
    match error {
        // In TLS 1.2 a cipher of elliptic curves is none for who has no curve in common.
        Error::PeerIncompatible(why)
            if version == Some(ProtocolVersion::TLSv1_2) && incompatible(why) == NO_SUITABLE_KEY_SHARE =>
        {
            NO_SHARED_CIPHER
        }
        Error::AlertReceived(alert) => ALERTS + u16::from(u8::from(*alert)),
        Error::NoCertificatesPresented => PEER_DID_NOT_RETURN_A_CERTIFICATE,
        Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) => CERTIFICATE_VERIFY_FAILED,
        Error::DecryptError => BAD_RECORD,
        Error::NoApplicationProtocol => NO_APPLICATION_PROTOCOL,
        Error::PeerSentOversizedRecord => DATA_LENGTH_TOO_LONG,
        Error::PeerIncompatible(why) => incompatible(why),
        Error::PeerMisbehaved(why) => misbehaved(why),
        Error::InvalidMessage(why) => invalid(why),
        // No certificate for the name that the client asked for, for one.
        Error::General(_) | Error::Other(_) => CALLBACK_FAILED,
        _ => UNEXPECTED_MESSAGE,
    }
}

fn incompatible(why: &PeerIncompatible) -> u16 {
    match why {
        PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::KeyShareExtensionRequired
        | PeerIncompatible::NamedGroupsExtensionRequired => NO_SUITABLE_KEY_SHARE,
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => NO_SHARED_SIGNATURE_ALGORITHMS,
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => UNSUPPORTED_PROTOCOL,
        PeerIncompatible::ExtendedMasterSecretExtensionRequired => INCONSISTENT_EXTMS,
        PeerIncompatible::NullCompressionRequired => NO_COMPRESSION_SPECIFIED,
        // Ciphers, and what elliptic curves need for them.
        _ => NO_SHARED_CIPHER,
    }
}

fn misbehaved(why: &PeerMisbehaved) -> u16 {
    match why {
        PeerMisbehaved::InvalidKeyShare | PeerMisbehaved::OfferedDuplicateKeyShares => BAD_KEY_SHARE,
        _ => UNEXPECTED_MESSAGE,
    }
}

fn invalid(why: &InvalidMessage) -> u16 {
    match why {
        InvalidMessage::MessageTooLarge
        | InvalidMessage::HandshakePayloadTooLarge
        | InvalidMessage::CertificatePayloadTooLarge => DATA_LENGTH_TOO_LONG,
        InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion => WRONG_VERSION_NUMBER,
        InvalidMessage::DuplicateExtension(_)
        | InvalidMessage::PreSharedKeyIsNotFinalExtension
        | InvalidMessage::UnknownHelloRetryRequestExtension
        | InvalidMessage::UnknownCertificateExtension => BAD_EXTENSION,
        InvalidMessage::UnexpectedMessage(_) | InvalidMessage::InvalidCcs => UNEXPECTED_MESSAGE,
        _ => LENGTH_MISMATCH,
    }
}

#[cfg(test)]
mod tests {
    use rustls::{
        AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved,
        ProtocolVersion,
    };

    use super::openssl_reason;

    /// What HAProxy logs where rustls says that.
    #[test]
    fn reasons() {
        let rows = [
            (Error::AlertReceived(AlertDescription::UnknownCA), 1048),
            (Error::NoCertificatesPresented, 199),
            (Error::InvalidCertificate(CertificateError::Expired), 134),
            (Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon), 193),
            (Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon), 101),
            (Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled), 258),
            (Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon), 376),
            (Error::PeerMisbehaved(PeerMisbehaved::IllegalMiddleboxChangeCipherSpec), 244),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), 267),
            (Error::General("no server certificate chain resolved".to_owned()), 234),
            (Error::DecryptError, 281),
        ];
        for (error, expected) in rows {
            assert_eq!(openssl_reason(&error, None), expected, "{error}");
        }
        let error = Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon);
        assert_eq!(openssl_reason(&error, Some(ProtocolVersion::TLSv1_2)), 193);
        assert_eq!(openssl_reason(&error, Some(ProtocolVersion::TLSv1_3)), 101);
    }
}
