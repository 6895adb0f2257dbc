//! Times in golden scripts: milliseconds since the script's start, however they are written.

use std::fmt::Write as _;

use super::START;

/// Log times become `+<ms>` since the start, as a number or as people read them.
pub(crate) fn relative(text: &str) -> String {
    let words = text.split_inclusive([' ', '=', '\n', ';', ',']).map(|word| {
        let time = word.trim_end_matches([' ', '=', '\n', ';', ',']);
        since_start(time).map_or(word.to_owned(), |ms| word.replace(time, &format!("+{ms}")))
    });
    relative_numbers(&words.collect::<String>())
}

/// Milliseconds since the start of a time such as `2026-09-21T14:13:20.007Z`.
fn since_start(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, by| text.split(by).map(str::parse).collect::<Result<Vec<u64>, _>>();
    let (seconds, ms) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, day] = numbers(date, '-').ok()?[..] else { return None };
    let [hour, minute, second] = numbers(seconds, ':').ok()?[..] else { return None };
    // Days since 1970 of a year that begins in March, as in every calendar algorithm.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leaps = year / 4 - year / 100 + year / 400;
    let days = 365 * year + leaps + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    (seconds * 1_000 + ms.parse::<u64>().ok()?).checked_sub(START)
}

fn relative_numbers(text: &str) -> String {
    let prefix = (START / 1_000_000_000).to_string();
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(&prefix) {
        let digits: String = rest[at..].chars().take_while(char::is_ascii_digit).collect();
        out.push_str(&rest[..at]);
        let alone = !out.ends_with(|c: char| c.is_ascii_digit()) && digits.len() == 13;
        match digits.parse::<u64>() {
            Ok(ms) if alone && ms >= START => write!(out, "+{}", ms - START).expect("text"),
            Ok(_) | Err(_) => out.push_str(&digits),
        }
        rest = &rest[at + digits.len()..];
    }
    out.push_str(rest);
    out
}
