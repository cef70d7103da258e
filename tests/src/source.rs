//! Rust source as the compiler's eyes would skim it: words, without comments, strings and chars.
//!
//! The rules look for words such as `unsafe`. A word in prose breaks no rule, so prose goes first.
//! What stays keeps its line, and every removed character becomes a blank.

/// The source with its comments, string and character literals blanked.
pub fn code(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = at + prose(&chars[at..], at.checked_sub(1).map(|before| chars[before]));
        if end == at {
            out.push(chars[at]);
            at += 1;
        }
        while at < end {
            out.push(if chars[at] == '\n' { '\n' } else { ' ' });
            at += 1;
        }
    }
    out
}

/// The length of the comment or literal that starts here; 0 if none does.
fn prose(rest: &[char], before: Option<char>) -> usize {
    match rest {
        ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => string(rest),
        // A raw string, unless the `r` ends a name; also after a byte or C string's letter.
        ['r', '"' | '#', ..]
            if !before.is_some_and(is_name) || matches!(before, Some('b' | 'c')) =>
        {
            raw_string(rest)
        }
        ['\'', '\\', _, more @ ..] => {
            more.iter().position(|c| *c == '\'').map_or(rest.len(), |quote| quote + 4)
        }
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

/// Whether a character may stand in a name.
fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '"' => return at + 1,
            '\\' => at += 2,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        // A raw identifier.
        return 0;
    }
    let closes = |at: &usize| {
        rest[*at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes
    };
    (2 + hashes..rest.len()).find(closes).map_or(rest.len(), |quote| quote + 1 + hashes)
}

/// The lines of `code` that hold `word`, counted from 1. A word is not part of a longer name; it may
/// be several tokens, as written.
pub fn lines_with<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let holds = move |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            let starts = word.starts_with(is_name) && before.is_some_and(is_name);
            let ends = word.ends_with(is_name) && after.is_some_and(is_name);
            !starts && !ends
        })
    };
    code.lines().enumerate().filter(move |(_, line)| holds(line)).map(|(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_blanked_and_lines_stay() {
        let source = "a // unsafe\n/* unsafe /* x */\nunsafe */ b\n\"unsafe \\\" x\" c\n";
        assert_eq!(code(source).split_whitespace().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(code(source).lines().count(), source.lines().count());
    }

    #[test]
    fn raw_strings_characters_and_lifetimes_are_told_apart() {
        let source = "r#\"unsafe \" x\"# 'u' '\\'' '\\u{41}' &'a b br\"unsafe\" r#type";
        let kept: Vec<String> = code(source).split_whitespace().map(str::to_owned).collect();
        assert_eq!(kept, ["&'a", "b", "b", "r#type"]);
    }

    #[test]
    fn a_word_is_not_part_of_a_longer_name() {
        let text = "unsafe_code\nunsafe {\nmy_unsafe\nx(unsafe)\n";
        assert_eq!(lines_with(text, "unsafe").collect::<Vec<_>>(), [2, 4]);
        assert_eq!(lines_with("core::asm!(1)\nasm!(2)", "asm!").collect::<Vec<_>>(), [1, 2]);
        assert_eq!(lines_with("global_asm!(1)", "asm!").count(), 0);
    }
}
