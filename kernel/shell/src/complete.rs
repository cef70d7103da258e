//! What Tab offers, from the table of commands: names, keys, flags and listed values.

use crate::arg::{Arg, Kind};
use crate::args::{Args, Repeats};
use crate::command::{Spec, Table};
use crate::help;
use crate::tab::{Candidate, Complete, Ending};
use crate::word::{Lexer, Semicolons, Token};

impl<C> Complete for Table<C> {
    fn candidates(&self, before: &str, offer: &mut dyn FnMut(Candidate<'_>)) {
        let names = || self.specs().map(|spec| spec.name);
        let Some((context, typed)) = split(before) else { return };
        let mut words = Lexer::new(context, Semicolons::Ordinary);
        let Some(Ok(Token::Word(command))) = words.next() else {
            return offer_names(names(), typed, offer);
        };
        let Some(spec) = self.specs().find(|spec| spec.name == command.value) else { return };
        if spec.name == help::SPEC.name {
            return offer_names(names(), typed, offer);
        }
        offer_arguments(spec, words, typed, offer);
    }
}

/// Splits the text before the cursor into the finished words of the command that the cursor is in
/// and the word that is being typed. `None` within quotes: what stands there is free text.
fn split(before: &str) -> Option<(&str, &str)> {
    let mut lexer = Lexer::new(before, Semicolons::Separate);
    let mut command_start = 0;
    let mut word_start = before.len();
    while let Some(token) = lexer.next() {
        let (start, end) = lexer.span();
        match token.ok()? {
            Token::Semicolon => command_start = end,
            // The last word is unfinished if the cursor touches it.
            Token::Word(_) if end == before.len() => word_start = start,
            Token::Word(_) => {}
        }
    }
    let typed = before.get(word_start..)?;
    if typed.contains(['"', '\'']) {
        return None;
    }
    Some((before.get(command_start..word_start)?, typed))
}

fn offer_names(
    names: impl Iterator<Item = &'static str>,
    typed: &str,
    offer: &mut dyn FnMut(Candidate<'_>),
) {
    for text in names.filter(|name| name.starts_with(typed)) {
        offer(Candidate { text, typed: typed.len(), ending: Ending::Blank });
    }
}

fn offer_arguments(
    spec: &'static Spec,
    words: Lexer<'_>,
    typed: &str,
    offer: &mut dyn FnMut(Candidate<'_>),
) {
    let mut args = Args::of(spec.args);
    for token in words {
        if let Ok(Token::Word(word)) = token {
            // A wrong word is reported when the line is run, not while it is typed.
            let _ = args.accept(&word, Repeats::TakeLast);
        }
    }
    if let Some((key, value)) = typed.split_once('=') {
        if let Some(arg) = spec.args.iter().find(|arg| arg.name == key) {
            offer_values(arg, value, offer);
        }
        return;
    }
    if let Some(arg) = args.next_place_arg() {
        offer_values(arg, typed, offer);
    }
    for arg in args.open_keys().filter(|arg| arg.name.starts_with(typed)) {
        let ending = match arg.kind {
            Kind::Flag => Ending::Blank,
            _ => Ending::Equals,
        };
        offer(Candidate { text: arg.name, typed: typed.len(), ending });
    }
}

fn offer_values(arg: &Arg, typed: &str, offer: &mut dyn FnMut(Candidate<'_>)) {
    match arg.kind {
        Kind::OneOf(names) => offer_names(names.iter().copied(), typed, offer),
        Kind::Flag => {
            offer_names(["on", "off"].into_iter(), typed, offer);
        }
        _ => {}
    }
}
