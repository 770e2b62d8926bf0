//! Fills a folder with certificates: `many_certificates DIR COUNT` writes `COUNT` of them for `n0.example`, `n1.example`…
//! as files with their keys, and `authority.pem`. To see how a configuration of many names starts and answers.

use std::error::Error;
use std::fs::{create_dir_all, write};
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(dir), Some(count)) = (args.next().map(PathBuf::from), args.next()) else {
        return Err("usage: many_certificates DIR COUNT".into());
    };
    create_dir_all(dir.join("all"))?;
    let mut params = CertificateParams::new([])?;
    params.distinguished_name.push(DnType::CommonName, "authority of many");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    write(dir.join("authority.pem"), params.self_signed(&key)?.pem())?;
    let issuer = Issuer::from_params(&params, &key);
    for number in 0..count.parse()? {
        let number: u32 = number;
        let name = format!("n{number}.example");
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new([name.clone()])?.signed_by(&key, &issuer)?;
        write(dir.join("all").join(format!("{name}.pem")), leaf.pem() + &key.serialize_pem())?;
    }
    Ok(())
}
