//! One thing that is wrong, while it is described and when it is shown.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use toml::de::DeTable;

use super::diagnostic::Diagnostic;
use super::place::{Line, Place, key_path};

/// One thing that is wrong.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(super) place: Place,
    pub(super) nature: Nature,
    message: String,
    help: Option<String>,
    /// Another place that has to do with it, and what it is.
    related: Option<(Place, String)>,
}

/// Decides what is believed of a file that has syntax errors as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// Not TOML.
    Syntax,
    /// Something that is there is wrong.
    Content,
    /// Something is not there; it may be in a part that could not be read.
    Absence,
}

impl Problem {
    /// Something that is there and wrong.
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, nature: Nature::Content, message: message.into(), help: None, related: None }
    }

    /// Something that is not there.
    pub(crate) fn missing(place: Place, message: impl Into<String>) -> Self {
        Self { nature: Nature::Absence, ..Self::new(place, message) }
    }

    /// Something that is not TOML.
    pub(super) fn syntax(place: Place, message: impl Into<String>) -> Self {
        Self { nature: Nature::Syntax, ..Self::new(place, message) }
    }

    /// What to do about it.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        self.help_if_any(Some(help.into()))
    }

    /// What to do about it, where something is known to help.
    pub(crate) fn help_if_any(self, help: Option<String>) -> Self {
        Self { help, ..self }
    }

    /// Points at a second place.
    pub(crate) fn related(self, place: Place, label: impl Into<String>) -> Self {
        Self { related: Some((place, label.into())), ..self }
    }

    /// As it is shown: `origin` is the name of the file, `text` what is in it.
    pub(super) fn diagnose(self, origin: &str, text: &str, document: &DeTable<'_>) -> Diagnostic {
        let line = Line::of(text, self.place);
        let key = if self.nature == Nature::Syntax { None } else { key_path(document, self.place) };
        Diagnostic {
            line: line.number(),
            column: line.column(),
            key,
            rendered: self.render(origin, text),
            message: self.message,
            help: self.help,
        }
    }

    fn render(&self, origin: &str, text: &str) -> String {
        let line = Line::of(text, self.place);
        let mut group = Level::ERROR.primary_title(&*self.message).element(
            Snippet::source(line.text)
                .line_start(line.number())
                .path(origin)
                .annotation(AnnotationKind::Primary.span(line.columns())),
        );
        if let Some((place, label)) = &self.related {
            let line = Line::of(text, *place);
            let mark = AnnotationKind::Context.span(line.columns()).label(&**label);
            group = group.element(Snippet::source(line.text).line_start(line.number()).path(origin).annotation(mark));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(&**help));
        }
        let rendered = Renderer::plain().render(&[group]);
        rendered.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }
}
