//! The fixed formats that options stand for, in the log-format language.

use sockeye_config::model::{LogFormat, Mode};
use sockeye_sample::{Format, Purpose};

/// `option tcplog` (manual 8.2.2).
const TCP: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";

/// `option httplog` (manual 8.2.3).
const HTTP: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc \
                    %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r";

/// `option tcplog clf` (manual 8.2.2).
const TCP_CLF: &str = "%{+Q}o %{-Q}ci - - [%T] \"TCP \" 000 %B \"\" \"\" %cp %ms %ft %b %s %Th %Tw %Tc %Tt %U \
                       %ts-- %ac %fc %bc %sc %rc %sq %bq \"\" \"\" ";

/// `option httplog clf` (manual 8.2.3).
const HTTP_CLF: &str = "%{+Q}o %{-Q}ci - - [%trg] %r %ST %B \"\" \"\" %cp %ms %ft %b %s %TR %Tw %Tc %Tr %Ta \
                        %tsc %ac %fc %bc %sc %rc %sq %bq %CC %CS %hrl %hsl";

/// The format that a frontend's options ask for. `None` for the default line, which is no format but
/// [`connect_line`](crate::connect_line).
pub fn format_of_option(option: LogFormat, mode: Mode) -> Option<Format> {
    let text = match (option, mode) {
        (LogFormat::Default, _) => return None,
        (LogFormat::Tcp, _) => TCP,
        (LogFormat::Http, _) => HTTP,
        (LogFormat::Clf, Mode::Tcp) => TCP_CLF,
        (LogFormat::Clf, Mode::Http) => HTTP_CLF,
    };
    let format = Format::of_aliases(text, Purpose::Log);
    debug_assert!(format.is_ok(), "{format:?}");
    format.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_formats_parse() {
        for option in [LogFormat::Tcp, LogFormat::Http, LogFormat::Clf] {
            for mode in [Mode::Tcp, Mode::Http] {
                assert!(format_of_option(option, mode).is_some());
            }
        }
        assert_eq!(format_of_option(LogFormat::Default, Mode::Http), None);
    }
}
