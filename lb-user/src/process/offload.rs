//! What the configuration asks of the kernel, and what `-vv` and `-c -V` say about it.

use sockeye_accel::{Asked, AttachWanted, Host, Report, SpliceWanted, Unavailable, Wanted};
use sockeye_config::model::{Attach, Config, EbpfSplice, Frontend, Mode};

use super::steer;

/// What the process will try to load.
pub fn wanted(config: &Config) -> Wanted {
    let ebpf = &config.global.ebpf;
    Wanted { accel: ebpf.accel, sockmap: ebpf.splice == EbpfSplice::Sockmap, splice: splice_wanted(config) }
}

/// Whether `mode packet` or the shield is asked for and can be had.
///
/// # Errors
/// Why not.
pub fn packet(config: &Config) -> Result<(), Unavailable> {
    if wants_packet(config) {
        Host::read().packet(config.global.ebpf.accel)
    } else {
        Err(Unavailable::PacketNotAsked)
    }
}

fn wants_packet(config: &Config) -> bool {
    let packet = |frontend: &Frontend| frontend.mode == Mode::Packet && !frontend.disabled;
    config.frontends.iter().any(packet) || !config.global.ebpf.shield.is_empty()
}

/// What would be done by this kernel with these privileges, and why the rest would not; everything there is if no
/// configuration says what is wanted.
pub fn report(config: Option<&Config>) -> String {
    let everything = Asked {
        wanted: Wanted { accel: true, sockmap: true, splice: SpliceWanted::Asked },
        packet: true,
        steering: true,
        attach: AttachWanted::Auto,
    };
    let asked = config.map_or(everything, |config| {
        let ebpf = &config.global.ebpf;
        Asked {
            wanted: wanted(config),
            packet: wants_packet(config),
            steering: steer::is_asked_for(config),
            attach: attach(ebpf.attach),
        }
    });
    Report::new(&asked).to_string()
}

/// `ebpf.attach`.
pub fn attach(word: Attach) -> AttachWanted {
    match word {
        Attach::Auto => AttachWanted::Auto,
        Attach::Native => AttachWanted::Native,
        Attach::Generic => AttachWanted::Generic,
        Attach::Tc => AttachWanted::Tc,
    }
}

/// What the configuration says about splice(2), over all sections.
fn splice_wanted(config: &Config) -> SpliceWanted {
    if config.global.nosplice {
        return SpliceWanted::NoSplice;
    }
    if config.global.ebpf.splice == EbpfSplice::Off {
        return SpliceWanted::Off;
    }
    let frontends = config.frontends.iter().map(|frontend| frontend.splice);
    let backends = config.backends.iter().map(|backend| backend.splice);
    let asked = frontends.chain(backends).any(|splice| splice.auto || splice.request || splice.response);
    if asked { SpliceWanted::Asked } else { SpliceWanted::NotAsked }
}
