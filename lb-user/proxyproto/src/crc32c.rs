//! CRC-32C (RFC 9260 appendix B), by which a version 2 header protects itself.

/// The checksum of the bytes of all `parts`, one after the other.
pub(crate) fn checksum(parts: &[&[u8]]) -> u32 {
    let bytes = parts.iter().copied().flatten();
    !bytes.fold(!0, |crc, byte| TABLE[usize::from(*byte ^ crc.to_le_bytes()[0])] ^ (crc >> 8))
}

/// The polynomial with its bits in reverse order.
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { POLYNOMIAL ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[byte as usize] = crc;
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn vectors_of_the_standard() {
        let check = |parts: &[&[u8]], expected| assert_eq!(checksum(parts), expected, "{parts:?}");
        check(&[b"123456789"], 0xe306_9283);
        check(&[b"1234", b"", b"56789"], 0xe306_9283);
        // RFC 3720 B.4.
        check(&[&[0; 32]], 0x8a91_36aa);
        check(&[&[0xff; 32]], 0x62a8_ab43);
    }
}
