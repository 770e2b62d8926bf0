//! Every example of `configs/` is a configuration that the daemon accepts without a complaint.

use std::path::Path;

use lb_tests::Setup;

/// What an administrator would have: a certificate and its key in one file.
fn certificate() -> String {
    let made = rcgen::generate_simple_self_signed(["www.example.org".to_owned()]).expect("a certificate");
    format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem())
}

#[tokio::test]
async fn every_example_passes_the_check() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root of the checkout").join("configs");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("configs/") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "cfg") {
            continue;
        }
        // A copy: the daemon under test may not see the checkout.
        let text = std::fs::read_to_string(&path).expect("the example");
        let mut setup = Setup::new("");
        let text = text.replace("configs/maps/", &format!("{}/", setup.dir().display()));
        let text = text.replace("configs/tls/", &format!("{}/", setup.dir().display()));
        for name in ["site.pem", "client-ca.pem", "inner-ca.pem", "proxy.pem"] {
            setup = setup.file(name, certificate());
        }
        let list = format!("{}/site.pem [alpn h2] *.example.org\n", setup.dir().display());
        setup = setup.file("hosts.list", list);
        for map in std::fs::read_dir(folder.join("maps")).expect("configs/maps/") {
            let map = map.expect("an entry");
            let name = map.file_name().into_string().expect("a name");
            setup = setup.file(&name, std::fs::read(map.path()).expect("a map"));
        }
        let exit =
            setup.file("example.cfg", text).arg("-c").arg("-f").arg("<dir>/example.cfg").run_bare().await;
        assert_eq!(exit.code, Some(0), "{}:\n{}", path.display(), exit.stderr);
        let complaints = exit.stderr.contains("[WARNING]") || exit.stderr.contains("[ALERT]");
        assert!(!complaints, "{}:\n{}", path.display(), exit.stderr);
        count += 1;
    }
    assert!(count > 0, "no example in {}", folder.display());
}
