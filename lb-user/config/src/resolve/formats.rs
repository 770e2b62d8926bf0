//! Formats compiled: what each frontend logs, and the unique id of its streams.

use std::sync::Arc;

use sockeye_sample::{Expressions, Format, Purpose, Stage, Stages};
use sockeye_syntax::diag::{Location, Place, Severity};
use sockeye_syntax::source::LOG_FORMATS;

use super::Findings;
use crate::draft::{DraftFormat, FormatText, LogOption, Proxy};
use crate::model::{LogFormats, Mode};

/// Compiles the formats of a frontend, in the order in which HAProxy reports mistakes.
pub(crate) fn compile(
    proxy: &Proxy,
    expressions: &mut Expressions,
    findings: &mut Findings<'_>,
) -> LogFormats {
    let settings = &proxy.settings;
    let mut compiler = FormatCompiler { proxy, expressions, findings };
    let log = Stages::of(Stage::Log);
    LogFormats {
        // A format of nothing is none.
        line: settings
            .log_format
            .as_ref()
            .and_then(|format| compiler.format("log-format", format, Purpose::Log, log))
            .filter(|format| !format.is_empty()),
        structured_data: settings
            .log_format_sd
            .as_ref()
            .and_then(|format| compiler.format("log-format-sd", format, Purpose::Log, log)),
        unique_id: settings.unique_id_format.as_ref().and_then(|format| {
            let request = Stages::of(Stage::FrontendRequestHeader);
            compiler.format("unique-id", format, Purpose::UniqueId, request)
        }),
        error: settings
            .error_log_format
            .as_ref()
            .and_then(|format| compiler.format("error-log-format", format, Purpose::Log, log)),
    }
}

/// The option that is used instead in `mode tcp`, with a format that HTTP is not needed for.
pub(crate) fn without_http(option: LogOption) -> Option<LogOption> {
    match option {
        LogOption::Http | LogOption::Https => Some(LogOption::Tcp),
        LogOption::HttpClf => Some(LogOption::TcpClf),
        LogOption::Tcp | LogOption::TcpClf => None,
    }
}

/// The format that an option stands for.
fn text_of(option: LogOption, mode: Mode) -> &'static str {
    let option = match mode {
        Mode::Tcp | Mode::Packet => without_http(option).unwrap_or(option),
        Mode::Http => option,
    };
    let variable = match option {
        LogOption::Tcp => "HAPROXY_TCP_LOG_FMT",
        LogOption::TcpClf => "HAPROXY_TCP_CLF_LOG_FMT",
        LogOption::Http => "HAPROXY_HTTP_LOG_FMT",
        LogOption::HttpClf => "HAPROXY_HTTP_CLF_LOG_FMT",
        LogOption::Https => "HAPROXY_HTTPS_LOG_FMT",
    };
    LOG_FORMATS.iter().find(|(name, _)| *name == variable).map_or("", |(_, text)| *text)
}

struct FormatCompiler<'a, 'f> {
    proxy: &'a Proxy,
    expressions: &'a mut Expressions,
    findings: &'a mut Findings<'f>,
}

impl FormatCompiler<'_, '_> {
    fn format(
        &mut self,
        keyword: &str,
        format: &DraftFormat,
        purpose: Purpose,
        stages: Stages,
    ) -> Option<Arc<Format>> {
        let text = match &format.text {
            FormatText::Written(text) => text,
            FormatText::Option(option) => text_of(*option, self.proxy.settings.mode),
        };
        let at = &format.at;
        let mut warnings = Vec::new();
        let parsed = {
            let mut compiler = self.expressions.compiler(&at.file, at.line, &self.proxy.name, &mut warnings);
            Format::parse(text, purpose, stages, &mut compiler)
        };
        for warning in warnings {
            self.say(Severity::Warning, at, &format!("{keyword} : {warning}."));
        }
        match parsed {
            Ok(format) => Some(Arc::new(format)),
            Err(error) => {
                self.say(Severity::Alert, at, &format!("failed to parse {keyword} : {error}"));
                None
            }
        }
    }

    /// These are found after reading, when HAProxy writes the place in another way.
    fn say(&mut self, severity: Severity, at: &Location, message: &str) {
        let message = format!("Parsing [{}:{}]: {message}", at.file, at.line);
        self.findings.push(severity, Place::Unsaid(at.clone()), message);
    }
}
