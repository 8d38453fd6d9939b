//! Every command is in the manual.

use std::process::Command;

use crate::pages::pages;

#[test]
fn every_command_is_in_the_manual() {
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel")).arg("--help").output().expect("the program runs");
    let help = String::from_utf8(output.stdout).expect("text");
    let (_, list) = help.split_once("Commands:\n").expect("a list of commands");
    // What follows a name on further lines is indented further.
    let names = list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let names = names.filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty());
    let commands: Vec<&str> = names.filter(|command| *command != "help").collect();
    assert!(commands.len() >= 5, "{commands:?}");
    let pages = pages();
    let operating = pages.iter().find(|page| page.path.ends_with("docs/operating.md")).expect("is there");
    for command in commands {
        let row = format!("| `evenkeel {command}");
        assert!(operating.text.lines().any(|line| line.starts_with(&row)), "no row for {command}");
    }
}
