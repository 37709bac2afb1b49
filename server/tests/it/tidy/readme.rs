//! What the README promises to be there.

/// Returns the arguments of every `filmroom` command in code blocks, without what only a shell understands.
pub(super) fn filmroom_commands(readme: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for line in code_lines(readme) {
        let line = line.split(" #").next().unwrap_or(line).trim();
        let arguments = match line.split_once("--bin filmroom") {
            Some((_, rest)) => rest.trim_start().strip_prefix("--").unwrap_or(rest),
            None => match line.split_once(' ') {
                Some((program, rest)) if program == "filmroom" || program.ends_with("/filmroom") => rest,
                Some(_) | None => continue,
            },
        };
        commands.push(arguments.split(['|', '>', '&', ';']).next().unwrap_or_default().trim().to_owned());
    }
    commands
}

/// Returns the targets of links within the repository and the scripts that code blocks call.
pub(super) fn local_paths(readme: &str) -> Vec<String> {
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links = links.filter(|target| !target.contains("://") && !target.starts_with('#'));
    let scripts = code_lines(readme).filter_map(|line| line.trim().strip_prefix("./"));
    let scripts = scripts.filter_map(|line| line.split_whitespace().next());
    links.chain(scripts).filter(|path| !path.starts_with("target/")).map(str::to_owned).collect()
}

fn code_lines(readme: &str) -> impl Iterator<Item = &str> {
    readme.split("```").skip(1).step_by(2).flat_map(|block| block.lines().skip(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "See [this](docs/x.md), [that](https://example.org/y) and `filmroom nothing`.\n\
        ```sh\ncargo run --release --bin filmroom -- demo\nfilmroom import PATH > log # files\n./scripts/test\n```\n";

    #[test]
    fn commands_come_from_code_blocks_only() {
        assert_eq!(filmroom_commands(README), ["demo", "import PATH"]);
    }

    #[test]
    fn links_and_scripts_must_exist() {
        assert_eq!(local_paths(README), ["docs/x.md", "scripts/test"]);
    }
}
